"""Read activations from tables: Parquet files, data sets of Hugging Face, and DataFrames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
import torch
from torch import Tensor

from txray.activations.stored import StoredLayer, checked
from txray.activations.tokens import TokenFiles
from txray.errors import CaptureError, in_one_line
from txray.files import sha256_of
from txray.lru_cache import LRUCache

TOKEN_COLUMNS = ("tokens", "token", "words", "word")
ID_COLUMNS = ("document", "document_id", "doc", "doc_id", "id", "sentence_id", "sentence")
_BLOCK_BYTES = 64 * 2**20
_CACHE_BYTES = 4 * _BLOCK_BYTES


class Table(Protocol):
    """A table that is read part by part."""

    schema: pl.Schema
    height: int

    def slice(self, columns: Sequence[str], first: int, n: int) -> pl.DataFrame:
        """Return some columns of consecutive rows."""

    def digest(self) -> str | None:
        """Return a hash of the files; None if the content must be hashed."""


class ParquetTable:
    """Parquet files, one after another."""

    def __init__(self, files: Sequence[Path]) -> None:
        """Read the schema."""
        self._files = list(files)
        self._scan = pl.scan_parquet(self._files)
        self.schema = self._scan.collect_schema()
        self.height = int(self._scan.select(pl.len()).collect().item())

    def slice(self, columns: Sequence[str], first: int, n: int) -> pl.DataFrame:
        """Return some columns of consecutive rows."""
        return self._scan.select(columns).slice(first, n).collect()

    def digest(self) -> str:
        """Return a hash of the files."""
        return sha256("".join(map(sha256_of, self._files)).encode()).hexdigest()


class FrameTable:
    """A DataFrame in memory."""

    def __init__(self, frame: pl.DataFrame) -> None:
        """Wrap it."""
        self._frame = frame
        self.schema = frame.schema
        self.height = frame.height

    def slice(self, columns: Sequence[str], first: int, n: int) -> pl.DataFrame:
        """Return some columns of consecutive rows."""
        return self._frame.select(columns).slice(first, n)

    def digest(self) -> None:
        """Return None: there are no files."""


class DatasetTable:
    """A data set of Hugging Face, which maps its files into memory."""

    def __init__(self, dataset: Any) -> None:
        """Wrap it."""
        self._dataset = dataset.with_format("arrow")
        self.height = len(dataset)
        self.schema = self._frame(self._dataset[:1]).schema

    def slice(self, columns: Sequence[str], first: int, n: int) -> pl.DataFrame:
        """Return some columns of consecutive rows."""
        return self._frame(self._dataset.select_columns(list(columns))[first : first + n])

    @staticmethod
    def _frame(table: Any) -> pl.DataFrame:
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        return frame

    def digest(self) -> None:
        """Return None: the files are those of a cache."""


class TableFiles(TokenFiles):
    """A table with a row per token or per document.

    A row per token: a column of tokens, one that names the document, and a list of numbers per layer. A row per
    document: a column with the list of its tokens, and a list of lists of numbers per layer.
    """

    def __init__(self, table: Table, location: str, pooling: str) -> None:
        """Read tokens and ids.

        Raises:
            CaptureError: a column is missing or of another type.
        """
        self._table = table
        self._cache = LRUCache(_CACHE_BYTES)
        schema = dict(table.schema)
        token = next((name for name in TOKEN_COLUMNS if name in schema), None)
        name = next((name for name in ID_COLUMNS if name in schema), None)
        if token is None:
            raise CaptureError(
                f"{location}: has the columns {', '.join(schema)}; name the one with the tokens 'token' or 'tokens'"
            )
        self._by_document = isinstance(schema[token], pl.List)
        depth = 2 if self._by_document else 1
        columns = [column for column, dtype in schema.items() if _depth(dtype) == depth and column != token]
        if not columns:
            what = "lists of lists of numbers" if self._by_document else "lists of numbers"
            raise CaptureError(f"{location}: has no column with {what}, one list per token, for the layers")
        if name is None and not self._by_document:
            raise CaptureError(f"{location}: names no document per token; add a column {ID_COLUMNS[0]!r}")
        documents = list(self._documents(token, name))
        first = table.slice(columns, 0, 1)
        layers = []
        for column in columns:
            values = first[column].explode() if self._by_document else first[column]
            size = len(values[0]) if len(values) and values[0] is not None else 0
            layers.append(StoredLayer(column, size, "float32"))
        super().__init__(location, "table", layers, documents, pooling)
        widths = sum(layer.neurons for layer in layers) * 4
        per_row = widths * (max(1, int(self.starts[-1]) // max(1, table.height)) if self._by_document else 1)
        self._block = max(1, _BLOCK_BYTES // max(1, per_row))

    def _documents(self, token: str, name: str | None) -> Iterator[tuple[str | None, Sequence[str]]]:
        columns = [token] if name is None else [token, name]
        open_tokens: list[str] = []
        open_name: object = None
        for first in range(0, self._table.height, 65_536):
            frame = self._table.slice(columns, first, 65_536)
            tokens = frame[token].to_list()
            names = [None] * len(tokens) if name is None else frame[name].to_list()
            for value, document in zip(tokens, names, strict=True):
                if self._by_document:
                    yield None if document is None else str(document), value or ()
                    continue
                if open_tokens and document != open_name:
                    yield str(open_name), open_tokens
                    open_tokens = []
                open_tokens.append(value)
                open_name = document
        if open_tokens:
            yield str(open_name), open_tokens

    def rows(self, layer: str, first: int, last: int) -> Tensor:
        """Return the activations of consecutive rows of one document."""
        shape = last - first, self.layers[layer].neurons
        if self._by_document:
            number, start = self.document_at(first)
            return checked(
                lambda: self._of_document(layer, number)[first - start : last - start],
                self.location,
                layer,
                shape,
            )
        return checked(lambda: self._of_tokens(layer, first, last), self.location, layer, shape)

    def _of_document(self, layer: str, number: int) -> Tensor:
        block = number // self._block
        column = self._column(layer, block)
        values = column[number - block * self._block]
        matrix = self._matrix(values, layer)
        if len(matrix) != self.n_tokens(number):
            raise ValueError(f"{len(matrix)} rows for {self.n_tokens(number)} tokens of row {number}")
        return matrix

    def _of_tokens(self, layer: str, first: int, last: int) -> Tensor:
        parts = []
        while first < last:
            block = first // self._block
            stop = min(last, (block + 1) * self._block)
            offset = block * self._block
            parts.append(self._matrix(self._column(layer, block)[first - offset : stop - offset], layer))
            first = stop
        return torch.cat(parts)

    def _column(self, layer: str, block: int) -> pl.Series:
        try:
            return self._cache.get(
                (layer, block),
                lambda: self._table.slice([layer], block * self._block, self._block)[layer],
                lambda column: int(column.estimated_size()),
            )
        except pl.exceptions.PolarsError as error:
            raise ValueError(in_one_line(error)) from error

    def _matrix(self, lists: pl.Series, layer: str) -> Tensor:
        """Return a column of lists of numbers as a matrix."""
        neurons = self.layers[layer].neurons
        lengths = lists.list.len() if isinstance(lists.dtype, pl.List) else pl.Series([neurons] * len(lists))
        if lists.null_count() or not bool((lengths == neurons).all()):
            raise ValueError(f"a token has another number of neurons than {neurons}, or none")
        numbers = lists.explode().cast(pl.Float32)
        if numbers.null_count():
            raise ValueError("a number is missing")
        return torch.from_numpy(np.array(numbers.to_numpy(), np.float32).reshape(-1, neurons))

    def digest(self) -> str:
        """Return a hash of the files, or of the tokens and activations."""
        known = self._table.digest()
        if known is not None:
            return known
        digest = sha256(repr((self._ids, self._tokens)).encode("utf-8", "surrogatepass"))
        for layer in self.layers:
            for number in range(self.n_documents):
                values = self.rows(layer, int(self.starts[number]), int(self.starts[number + 1]))
                digest.update(values.numpy().tobytes())
        return digest.hexdigest()


def _depth(dtype: Any) -> int:
    """Return how many lists are around the floating-point numbers of a column; 0 for anything else."""
    depth = 0
    while isinstance(dtype, pl.List | pl.Array):
        dtype, depth = dtype.inner, depth + 1
    return depth if dtype.is_float() else 0


def parquet_files(files: Sequence[Path], location: str, pooling: str) -> TableFiles:
    """Return the activations of Parquet files.

    Raises:
        CaptureError: a file is damaged, or a column is missing.
    """
    try:
        return TableFiles(ParquetTable(files), location, pooling)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise CaptureError(f"{location}: no Parquet that can be read ({in_one_line(error)})") from error
