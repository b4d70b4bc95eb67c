"""Parquet: tables with one document per row, as Hugging Face and others store them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from txray.corpus.archives import reading
from txray.corpus.columns import ColumnOptions, Field, column_mapping
from txray.corpus.corpus import Corpus
from txray.corpus.sources import kind_of, listed
from txray.corpus.tables import corpus_of_table
from txray.errors import CorpusError, UnknownNameError, UsageError, in_one_line

if TYPE_CHECKING:
    import polars as pl

_MAGIC = b"PAR1"
_SPLIT = re.compile(r"(?P<split>[a-z]\w*?)(?:-\d+-of-\d+|[-_]\d+)?\.parquet")
_SPLITS = ("train", "validation", "valid", "dev", "test", "unsupervised")
_ROWS_AT_ONCE = 4096


def read_parquet(path: Path, split: str | None = None, **options: Unpack[ColumnOptions]) -> Corpus:
    """Read Parquet, one document per row, some rows at a time.

    Columns and values are treated as by `txray.corpus.from_dataset`, with the names of classes that Hugging Face
    writes into its files.

    Args:
        path: a file, or a folder whose `.parquet` files (also in folders below) are read in the order of their names.
        split: for a folder: the files named like `test.parquet` or `test-00000-of-00002.parquet`.
        options: `text`, `words`, `id`, `label`, `group`, `annotations`, `tokenized` and `html` of
            `txray.corpus.from_dataset`.

    Raises:
        CorpusError: nothing readable at `path`; while reading: an unusable value, with its row.
        UnknownNameError: no such split or column.
        UsageError: no split of several; a column that holds something else than is needed.
    """
    table = _ParquetTable(path, _files(path, split), split)
    mapping = column_mapping(table.location, table.fields, **options)
    return corpus_of_table(f"parquet/{table.id_prefix}", table, mapping)


class _ParquetTable:
    """The table in some files; see `txray.corpus.tables.TableSource`."""

    def __init__(self, path: Path, files: Sequence[Path], split: str | None) -> None:
        self.location = str(path)
        self.id_prefix = path.stem if len(files) == 1 and files[0] == path else path.name
        if split is not None and files != [path]:
            self.id_prefix = f"{self.id_prefix}/{split}"
        self._files = files
        self.fields: Mapping[str, Field] = _fields(files[0])
        for file in files[1:]:
            if (fields := _fields(file)) != self.fields:
                differing = next(
                    name for name in {**self.fields, **fields} if self.fields.get(name) != fields.get(name)
                )
                raise CorpusError(
                    f"{file}: column {differing!r} is not as in {files[0].name}; read the files one by one"
                )

    def read(self, columns: Sequence[str]) -> Iterator[Mapping[str, object]]:
        for file in self._files:
            start = 0
            while True:
                with reading(str(file), CorpusError), _parquet(file):
                    rows = _scan(file).select(columns).slice(start, _ROWS_AT_ONCE).collect()
                yield from rows.iter_rows(named=True)
                if len(rows) < _ROWS_AT_ONCE:
                    break
                start += _ROWS_AT_ONCE


class TableLines:
    """Parquet files read as the lines of a text, one per row, in the column `text`; see `txray.corpus.sources.Source`.

    Attributes:
        location: names the text in errors.
        id_prefix: begins the ids of its documents.
    """

    def __init__(self, path: Path, split: str, id_prefix: str) -> None:
        self.location, self.id_prefix = str(path), id_prefix
        self._table = _ParquetTable(path, _files(path, split), split)
        column_mapping(self.location, self._table.fields, text="text", label=False)

    def check(self) -> TableLines:
        """Return this source; its columns were checked when it was created."""
        return self

    def lines(self) -> Iterator[tuple[int, str]]:
        """Yield row numbers, from 1, and lines; null is an empty line."""
        for number, row in enumerate(self._table.read(["text"]), 1):
            yield number, str(row["text"] or "")

    def digest(self) -> tuple[str, bytes]:
        """Return the id prefix, and the SHA-256 of the lines (32 bytes)."""
        summed = sha256()
        for _, line in self.lines():
            summed.update(f"{line.rstrip()}\n".encode())
        return self.id_prefix, summed.digest()


def _files(path: Path, split: str | None) -> list[Path]:
    if kind_of(path) == "file":
        if split is not None and split_of_table(path) != split:
            raise UsageError(f"{path}: a single file, and its name does not say {split!r}; omit the split")
        return [path]
    files = listed(path, "**/*.parquet")
    if not files:
        raise CorpusError(f"{path}: holds no .parquet file; give a folder with some, or one file")
    splits = list(dict.fromkeys(name for file in files if (name := split_of_table(file)) is not None))
    if split is None:
        if len(splits) > 1:
            raise UsageError(f"{path}: needs a split, one of {', '.join(splits)} (split=..., or --split)")
        return files
    if split not in splits:
        raise UnknownNameError.of("split", split, splits, where=str(path))
    return [file for file in files if split_of_table(file) == split]


def split_of_table(file: Path) -> str | None:
    """Return the usual split in a file's name, or in that of its folder if the file is only numbered; None if none."""
    match = _SPLIT.fullmatch(file.name.lower())
    for name in (match["split"] if match else "", file.parent.name.lower()):
        if name in _SPLITS:
            return name
    return None


def _fields(file: Path) -> dict[str, Field]:
    import polars as pl

    with reading(str(file), CorpusError), file.open("rb") as stream:
        magic = stream.read(len(_MAGIC))
    if magic != _MAGIC:
        raise CorpusError(
            f"{file}: is not a Parquet file (it does not begin with PAR1); name the right --format"
        )
    with reading(str(file), CorpusError), _parquet(file):
        schema = _scan(file).collect_schema()
        metadata = pl.read_parquet_metadata(file).get("huggingface", "")
    names = _class_names(metadata)
    return {column: _field(dtype, names.get(column)) for column, dtype in schema.items()}


def _scan(file: Path) -> pl.LazyFrame:
    import polars as pl

    # The name of a file is neither a pattern nor does it hold values of columns.
    return pl.scan_parquet(file, glob=False, hive_partitioning=False)


@contextmanager
def _parquet(file: Path) -> Iterator[None]:
    """Turn errors of polars about a damaged file into one line."""
    import polars as pl

    try:
        yield
    except pl.exceptions.PolarsError as error:
        text = in_one_line(error)
        raise CorpusError(
            f"{file}: damaged, or not a Parquet file ({text}); copy or write it again"
        ) from error


def _field(dtype: Any, names: tuple[str, ...] | None) -> Field:
    import polars as pl

    is_list = isinstance(dtype, pl.List | pl.Array)
    inner = dtype.inner if is_list else dtype
    if isinstance(inner, pl.String | pl.Categorical | pl.Enum):
        return Field(is_list, "text")
    if inner.is_integer() or isinstance(inner, pl.Boolean):
        return Field(is_list, "whole", names)
    if inner.is_numeric() or isinstance(inner, pl.Date | pl.Datetime | pl.Time):
        return Field(is_list, "value")
    return Field(is_list, "other")


def _class_names(metadata: str) -> dict[str, tuple[str, ...]]:
    """Return column -> names of classes, from the metadata of Hugging Face; nothing if they cannot be read."""
    try:
        features = json.loads(metadata)["info"]["features"]
        names = {}
        for column, feature in features.items():
            inner = feature.get("feature", feature) if isinstance(feature, dict) else {}
            if isinstance(inner, dict) and inner.get("_type") == "ClassLabel":
                names[column] = tuple(map(str, inner["names"]))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}
    return names
