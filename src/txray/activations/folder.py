"""Read a folder of activations that `txray.collect` saved."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from txray.activations.folding import text_key
from txray.activations.stored import Indices, Pooling, StoredInput, StoredLayer, StoredText
from txray.activations.writer import DOCUMENTS, FORMAT, INDEX, ROW_COLUMNS
from txray.corpus.document import Document
from txray.errors import CaptureError, TxrayError, in_one_line
from txray.files import sha256_of
from txray.lru_cache import LRUCache

_MAX_INDEX = 64 * 2**20
"""Maximum size of an index in bytes: it has a line for every shard and layer."""

_MAX_LAG = 1 << 16
_FLOATS = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)
}
_NAMES_IN_FILES = {"float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64", "int32": "I32"}
"""Type -> its name in files of safetensors."""
_CACHE_BYTES = 256 * 2**20
"""Maximum size of the words and positions in memory; the activations themselves are mapped."""


class FolderFiles:
    """Activations in a folder of safetensors shards with an index; see `ActivationFiles`."""

    format = "txray"
    has_ids = True

    def __init__(self, folder: Path) -> None:
        """Read the index and the headers of all shards.

        Raises:
            CaptureError: a file is missing or damaged.
        """
        self.location = str(folder)
        self._folder = folder
        index = self._read_index()
        try:
            self.model: Mapping[str, Any] = dict(index["model"])
            self.settings: Mapping[str, Any] = dict(index["reading"])
            self.pooling = str(index["pooling"])
            self.padded = bool(index["padded"])
            steps = index["chunk_steps"]
            self.chunk_steps = None if steps is None else max(1, int(steps))
            self.n_documents = int(index["documents"]["n"])
            self.layers: Mapping[str, StoredLayer] = {
                name: StoredLayer(name, int(layer["neurons"]), str(layer["dtype"]), layer)
                for name, layer in index["layers"].items()
            }
            self._dtypes = {name: _FLOATS[layer.dtype] for name, layer in self.layers.items()}
            if any(
                abs(int(layer["lag"])) > _MAX_LAG or abs(int(layer["missing"])) > _MAX_LAG
                for layer in index["layers"].values()
            ):
                raise ValueError("a layer lags by more steps than any model")
            self._stored = {name: str(layer["stored"]) for name, layer in index["layers"].items()}
            cache = LRUCache(_CACHE_BYTES)
            self._shards = [_Shard(folder, shard, cache) for shard in index["shards"]]
            self._document_digest = str(index["documents"]["sha256"])
            if self.pooling not in get_args(Pooling):
                raise ValueError(f"unknown pooling {self.pooling[:40]!r}")
            if self.n_documents < 0 or any(layer.neurons < 1 for layer in self.layers.values()):
                raise ValueError("a number of documents or neurons is too small")
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise CaptureError(f"{folder / INDEX}: damaged ({in_one_line(error)}); collect again") from error
        for shard in self._shards:
            shard.require(self.layers, self._stored)
        self._starts = np.append(0, np.cumsum([shard.n_rows for shard in self._shards])).astype(np.int64)

    def _read_index(self) -> dict[str, Any]:
        file = self._folder / INDEX
        try:
            if file.stat().st_size > _MAX_INDEX:
                raise CaptureError(
                    f"{file}: larger than {_MAX_INDEX:,} bytes, so it is no index; collect again"
                )
            index: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            if index["format"] != FORMAT:
                raise CaptureError(
                    f"{file}: format {index['format']!r}; this version of txray reads format {FORMAT}"
                )
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise CaptureError(f"{file}: damaged ({in_one_line(error)}); collect again") from error
        return index

    @cached_property
    def _lines(self) -> tuple[list[int], list[tuple[str, int]]]:
        """Where each document begins in its file, and its id and the hash of its text."""
        file = self._folder / DOCUMENTS
        offsets, identities, offset = [], [], 0
        try:
            with file.open("rb") as stream:
                for line in stream:
                    content = json.loads(line)
                    identities.append((str(content["id"]), text_key(content["words"])))
                    offsets.append(offset)
                    offset += len(line)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise CaptureError(
                f"{file}, line {len(offsets) + 1}: damaged ({in_one_line(error)}); collect again"
            ) from error
        if len(offsets) != self.n_documents:
            raise CaptureError(
                f"{file}: holds {len(offsets)} documents instead of {self.n_documents}; collect again"
            )
        return offsets, identities

    @cached_property
    def _segments(self) -> tuple[Indices, Indices]:
        """(n, 4) document, input, first row and number of rows of consecutive rows, sorted; start of each document."""
        parts = []
        for start, shard in zip(self._starts[:-1].tolist(), self._shards, strict=True):
            document, number = shard.column("document"), shard.column("input")
            if not len(document):
                continue
            if document.min() < 0 or document.max() >= self.n_documents or number.min() < 0:
                raise CaptureError(f"{shard.file}: rows of documents that do not exist; collect again")
            change = (np.diff(document, prepend=-1) != 0) | (np.diff(number, prepend=-1) != 0)
            first = np.flatnonzero(change)
            sizes = np.diff(first, append=len(document))
            parts.append(np.stack((document[first], number[first], first + start, sizes), axis=1))
        segments = np.concatenate([np.zeros((0, 4), np.int64), *parts])
        segments = segments[np.lexsort((segments[:, 2], segments[:, 1], segments[:, 0]))]
        return segments, np.searchsorted(segments[:, 0], np.arange(self.n_documents + 1))

    @cached_property
    def _inputs(self) -> dict[tuple[int, int], tuple[int, float | None]]:
        """Positions and probability of each input of each document."""
        inputs = {}
        for shard in self._shards:
            table, probability = shard.inputs()
            for i, (document, number, positions) in enumerate(table.tolist()):
                inputs[document, number] = positions, None if probability is None else float(probability[i])
        return inputs

    def identities(self) -> Iterator[tuple[str, int]]:
        """Yield the id and the hash of the text of each document."""
        return iter(self._lines[1])

    def text(self, number: int) -> StoredText:
        """Return a stored document with its inputs."""
        file = self._folder / DOCUMENTS
        offset = self._lines[0][number]
        try:
            with file.open("rb") as stream:
                stream.seek(offset)
                content = json.loads(stream.readline())
            n = len(content["words"])
            document = Document(
                id=content["id"],
                words=tuple(content["words"]),
                annotations={name: tuple(values) for name, values in content.get("annotations", {}).items()},
                labels=content.get("labels", {}),
                sentence_starts=(0, *content.get("sentence_starts", ())),
                group=content.get("group"),
                cut_from=content.get("cut_from"),
                spacing=None if "spacing" not in content else tuple(content["spacing"]),
            )
            forms = {int(position): str(form) for position, form in content.get("forms", {}).items()}
            skipped = Counter({str(k): int(v) for k, v in content.get("skipped", {}).items()})
            read_as = str(content.get("read_as", ""))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, TxrayError) as error:
            raise CaptureError(
                f"{file}, line {number + 1}: damaged ({in_one_line(error)}); collect again"
            ) from error
        segments, starts = self._segments
        segments = segments[starts[number] : starts[number + 1]]
        inputs = [
            self._input(number, int(i), segments[segments[:, 1] == i], n) for i in np.unique(segments[:, 1])
        ]
        return StoredText(document, inputs, forms, skipped, read_as)

    def _input(self, document: int, number: int, segments: Indices, n_words: int) -> StoredInput:
        rows, words, steps = [], [], []
        tokens: list[str] = []
        outputs: list[str] = []
        for first, size in segments[:, 2:].tolist():
            shard, offset = self._shard_of(first)
            part = slice(offset, offset + size)
            rows.append(np.arange(first, first + size))
            words.append(shard.column("word")[part])
            steps.append(shard.column("step")[part])
            tokens += shard.texts("tokens")[part]
            outputs += shard.texts("outputs")[part]
        positions, probability = self._inputs.get((document, number), (0, None))
        word, step = np.concatenate(words), np.concatenate(steps)
        if (
            word.min() < 0
            or word.max() >= n_words
            or (np.diff(word) < 0).any()
            or step.min() < 0
            or (np.diff(step) <= 0).any()
            or step.max() >= positions
        ):
            raise CaptureError(
                f"{self.location}: words or positions of document {document} are not ascending, or outside of it; "
                "collect again"
            )
        return StoredInput(np.concatenate(rows), tokens, word, step, positions, outputs or None, probability)

    def _shard_of(self, row: int) -> tuple[_Shard, int]:
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._shards[number], row - int(self._starts[number])

    def rows(self, layer: str, first: int, last: int) -> Tensor:
        """Return the activations of consecutive rows, in the type that the model computed."""
        parts = []
        while first < last:
            shard, offset = self._shard_of(first)
            stop = min(last, first + shard.n_rows - offset)
            parts.append(shard.values(layer, offset, offset + stop - first))
            first = stop
        values = parts[0] if len(parts) == 1 else torch.cat(parts)
        return values.to(self._dtypes[layer])

    def digest(self) -> str:
        """Return a hash of the layers and of all files, whose content is checked."""
        digest = sha256(json.dumps([dict(layer.settings) for layer in self.layers.values()]).encode())
        recorded = [(self._folder / DOCUMENTS, self._document_digest)]
        recorded += [(shard.file, shard.sha256) for shard in self._shards]
        for file, expected in recorded:
            if not file.is_file() or sha256_of(file) != expected:
                raise CaptureError(f"{file}: missing or damaged, its checksum differs; collect again")
            digest.update(expected.encode())
        return digest.hexdigest()


class _Shard:
    """One file of rows, mapped into memory."""

    def __init__(self, folder: Path, entry: Mapping[str, Any], cache: LRUCache) -> None:
        """Check the entry of the index; the file is opened when it is needed."""
        self._cache = cache
        name = str(entry["file"])
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise ValueError(f"no name of a shard: {name[:40]!r}")
        self.file = folder / name
        self.n_rows = int(entry["rows"])
        self.sha256 = str(entry["sha256"])

    @cached_property
    def _content(self) -> Any:
        try:
            return safe_open(self.file, framework="pt")
        except (SafetensorError, OSError) as error:
            raise CaptureError(
                f"{self.file}: missing or damaged ({in_one_line(error)}); collect again"
            ) from error

    def require(self, layers: Mapping[str, StoredLayer], stored: Mapping[str, str]) -> None:
        """Raise if the file does not hold what the index says."""
        names = set(self._content.keys())
        wanted = {f"rows.{name}": ([self.n_rows], "int32") for name in ROW_COLUMNS}
        if self.n_rows:
            wanted |= {
                f"layer.{name}": ([self.n_rows, layer.neurons], stored[name])
                for name, layer in layers.items()
            }
        for name, (shape, dtype) in wanted.items():
            if name not in names:
                raise CaptureError(f"{self.file}: has no tensor {name!r}; collect again")
            part = self._content.get_slice(name)
            actual = part.get_shape()
            if actual != shape:
                raise CaptureError(
                    f"{self.file}: {name!r} has shape {actual} instead of {shape}; collect again"
                )
            if part.get_dtype() != _NAMES_IN_FILES.get(dtype):
                raise CaptureError(
                    f"{self.file}: {name!r} holds {part.get_dtype()} instead of {dtype}; collect again"
                )
        if "inputs" not in names:
            raise CaptureError(f"{self.file}: has no tensor 'inputs'; collect again")

    def column(self, name: str) -> Indices:
        """Return (n_rows,) one of the integers of each row."""
        return self._cache.get((self.file, name), lambda: self._column(name), lambda column: column.nbytes)

    def _column(self, name: str) -> Indices:
        return np.asarray(self._content.get_tensor(f"rows.{name}").numpy(), np.int64)

    def inputs(self) -> tuple[NDArray[np.int64], NDArray[np.float64] | None]:
        """Return (n, 3) document, number and positions of inputs, and their (n,) probability if it is known."""
        table = self._content.get_tensor("inputs").numpy()
        known = "inputs.probability" in self._content.keys()  # noqa: SIM118 (no mapping)
        probability = self._content.get_tensor("inputs.probability").numpy() if known else None
        if (
            table.ndim != 2
            or table.shape[1] != 3
            or (probability is not None and probability.shape != table.shape[:1])
        ):
            raise CaptureError(f"{self.file}: 'inputs' has shape {list(table.shape)}; collect again")
        return table.astype(np.int64), probability

    def texts(self, name: str) -> list[str]:
        """Return (n_rows,) tokens or outputs; empty if there are none."""
        return self._cache.get(
            (self.file, name),
            lambda: self._read_texts(name),
            lambda texts: sum(map(len, texts)) + 60 * len(texts),
        )

    def _read_texts(self, name: str) -> list[str]:
        if f"rows.{name}" not in self._content.keys():  # noqa: SIM118 (no mapping)
            return []
        try:
            texts = json.loads(self._content.get_tensor(f"rows.{name}").numpy().tobytes())
        except (ValueError, RecursionError) as error:
            raise CaptureError(
                f"{self.file}: 'rows.{name}' is damaged ({in_one_line(error)}); collect again"
            ) from error
        if not isinstance(texts, list) or len(texts) != self.n_rows:
            raise CaptureError(f"{self.file}: 'rows.{name}' does not match its rows; collect again")
        return list(map(str, texts))

    def values(self, layer: str, first: int, last: int) -> Tensor:
        """Return the activations of consecutive rows, as they are stored."""
        values: Tensor = self._content.get_slice(f"layer.{layer}")[first:last]
        return values
