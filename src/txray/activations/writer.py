"""Write activations: safetensors shards of equally many rows, the documents, and an index."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from txray.checks import is_integer
from txray.corpus.document import Document
from txray.errors import CaptureError, OutputError, UnknownNameError, UsageError
from txray.files import TEMP_PREFIX, atomic_file, remove_temporaries, sha256_of, write_text
from txray.settings_lock import SettingsLock

FORMAT = 1
INDEX = "activations.json"
UNFINISHED = "unfinished.json"
DOCUMENTS = "documents.jsonl"
ROW_COLUMNS = ("document", "input", "word", "step")
"""Integers stored for each row: number of the document, of the input in it, of the word, and the position."""

StorageType = Literal["float32", "float16", "bfloat16"]
"""Number types of stored activations."""
STORAGE_TYPES: tuple[StorageType, ...] = get_args(StorageType)

_FLOATS = {"float16", "bfloat16", "float32", "float64"}


@dataclass(frozen=True)
class SaveActivations:
    """Where and how `txray.collect` saves the activations that it reads.

    Attributes:
        folder: a new or empty folder; an interrupted collection continues there.
        dtype: type of the stored numbers; by default that of the layer, so that nothing is lost.
        shard_bytes: size of a file, approximately.
        max_bytes: maximum size of all files; collection stops with an error before it is exceeded.

    Raises:
        UnknownNameError: unknown type.
        UsageError: a size below 1.
    """

    folder: Path | str
    dtype: StorageType | None = None
    shard_bytes: int = 128 * 2**20
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.dtype is not None and self.dtype not in STORAGE_TYPES:
            raise UnknownNameError.of("type of stored activations", self.dtype, STORAGE_TYPES)
        for name in ("shard_bytes", "max_bytes"):
            value = getattr(self, name)
            if not (value is None and name == "max_bytes") and not (is_integer(value) and value >= 1):
                raise UsageError(f"save_activations: {name}={value!r}; pass a number of bytes, at least 1")

    @property
    def settings(self) -> dict[str, Any]:
        """Return what the files depend on, as plain JSON values."""
        return {"dtype": self.dtype, "shard_bytes": self.shard_bytes}


@dataclass(frozen=True, eq=False)
class Rows:
    """Consecutive rows to be stored.

    Attributes:
        columns: (n, 4) integers, see `ROW_COLUMNS`.
        inputs: (n_inputs, 3) document, number of the input in it, and positions of the inputs that begin here.
        probability: (n_inputs,) probability of the class `pos`; None if the model is no classifier.
        tokens, outputs: (n,) names of the pieces, and outputs of the model; empty if there are none.
    """

    columns: NDArray[np.int64]
    inputs: NDArray[np.int64]
    probability: NDArray[np.float64] | None
    tokens: Sequence[str]
    outputs: Sequence[str]


class ActivationWriter:
    """Writes activations to a folder, shard by shard.

    Every shard but the last has the same number of rows, so files do not depend on when a collection was interrupted.
    """

    def __init__(self, options: SaveActivations, settings: Mapping[str, Any]) -> None:
        """Claim the folder.

        Args:
            options: where and how to write.
            settings: everything that the activations depend on, as plain JSON values.

        Raises:
            UsageError: the folder holds unfinished activations with other settings.
            OutputError: the folder holds something else, or cannot be written.
        """
        self.folder = Path(options.folder)
        self._options = options
        settings = {**settings, "save_activations": options.settings}
        fingerprints = ("model", "reading code", "corpus")
        self._lock = SettingsLock(
            self.folder, UNFINISHED, settings, "activations of an unfinished collection", fingerprints
        )
        self._claim()
        self._documents: IO[bytes] | None = None
        self._n_documents = 0
        self._n_words = 0
        self._shards: list[dict[str, Any]] = []
        self._dtypes: dict[str, str] = {}
        self._loss: dict[str, list[float]] = {}
        self._n_rows = 0
        self._clear()

    def add_document(self, document: Document, forms: Sequence[str], about: Mapping[str, Any]) -> int:
        """Store a document, and return its number.

        Args:
            document: the document.
            forms: (n_words,) the words as the model sees them.
            about: what else is known about it, as plain JSON values.
        """
        if self._documents is None:
            remove_temporaries(self.folder)
            # After an interruption, what was written later than the checkpoint is written again.
            self._remove_shards(after=len(self._shards))
            self._documents = (self.folder / f"{TEMP_PREFIX}{DOCUMENTS}").open("wb")
        line: dict[str, Any] = {"id": document.id, "words": document.words}
        line |= {
            name: value
            for name, value in (
                ("annotations", dict(document.annotations)),
                ("labels", dict(document.labels)),
                ("sentence_starts", document.sentence_starts[1:]),
                ("group", document.group),
                ("cut_from", document.cut_from),
                ("spacing", document.spacing),
                (
                    "forms",
                    {
                        i: form
                        for i, (form, word) in enumerate(zip(forms, document.words, strict=True))
                        if form != word.lower()
                    },
                ),
                *about.items(),
            )
            if value not in (None, {}, (), "")
        }
        try:
            self._documents.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        except OSError as error:
            raise OutputError(f"{self._documents.name}: cannot be written: {error.strerror}") from error
        self._n_documents += 1
        self._n_words += len(document.words)
        return self._n_documents - 1

    def append(self, rows: Rows, values: Mapping[str, Tensor]) -> None:
        """Store rows with the (n, neurons) activations of each layer.

        Raises:
            CaptureError: an activation is too large for the type that is stored.
            UsageError: the files would be larger than allowed.
            OutputError: a file cannot be written.
        """
        values = {layer: self._converted(layer, tensor) for layer, tensor in values.items()}
        self._inputs.append(rows.inputs)
        if rows.probability is not None:
            self._probability.append(rows.probability)
        # The values of a row, and its four integers of 32 bits.
        row_bytes = sum(tensor.shape[1] * tensor.element_size() for tensor in values.values()) + 16
        rows_per_shard = max(1, self._options.shard_bytes // row_bytes)
        start, n = 0, len(rows.columns)
        while start < n:
            stop = min(n, start + rows_per_shard - self._n_buffered)
            self._columns.append(rows.columns[start:stop].astype(np.int32))
            self._tokens += rows.tokens[start:stop]
            self._outputs += rows.outputs[start:stop]
            for layer, tensor in values.items():
                self._values.setdefault(layer, []).append(tensor[start:stop].clone())
            self._n_buffered += stop - start
            start = stop
            if self._n_buffered == rows_per_shard:
                self._write_shard()

    def _converted(self, layer: str, values: Tensor) -> Tensor:
        """Return the values on the CPU in the type that is stored, and measure what that loses."""
        name = str(values.dtype).removeprefix("torch.")
        if name not in _FLOATS:
            values, name = values.float(), "float32"
        self._dtypes.setdefault(layer, name)
        if self._options.dtype is None or self._options.dtype == name:
            return values.cpu()
        stored = values.to(getattr(torch, self._options.dtype))
        if bool((torch.isinf(stored) & torch.isfinite(values)).any()):
            raise CaptureError(
                f"layer {layer!r}: activations up to {float(values.abs().max()):.3g} are too large for "
                f"{self._options.dtype}; store another type, such as bfloat16"
            )
        difference = stored.to(values.dtype) - values
        loss = self._loss.setdefault(layer, [0.0, 0.0, 0.0])
        if difference.numel():
            loss[0] = max(loss[0], float(difference.abs().max()))
            loss[1] += float(torch.linalg.vector_norm(difference, dtype=torch.float64)) ** 2
            loss[2] += float(torch.linalg.vector_norm(values, dtype=torch.float64)) ** 2
        return stored.cpu()

    def _clear(self) -> None:
        self._n_buffered = 0
        self._columns: list[NDArray[np.int32]] = []
        self._inputs: list[NDArray[np.int64]] = []
        self._probability: list[NDArray[np.float64]] = []
        self._tokens: list[str] = []
        self._outputs: list[str] = []
        self._values: dict[str, list[Tensor]] = {}

    def _buffer(self) -> dict[str, Tensor]:
        """Return the tensors of the open shard."""
        columns = np.concatenate([np.zeros((0, len(ROW_COLUMNS)), np.int32), *self._columns])
        tensors = {f"rows.{name}": column for name, column in zip(ROW_COLUMNS, columns.T, strict=True)}
        tensors["inputs"] = np.concatenate([np.zeros((0, 3), np.int64), *self._inputs]).astype(np.int32)
        if self._probability:
            tensors["inputs.probability"] = np.concatenate(self._probability)
        buffer = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in tensors.items()}
        for name, texts in (("rows.tokens", self._tokens), ("rows.outputs", self._outputs)):
            if texts:
                encoded = json.dumps(texts, ensure_ascii=False).encode()
                buffer[name] = torch.frombuffer(bytearray(encoded), dtype=torch.uint8)
        for layer, parts in self._values.items():
            buffer[f"layer.{layer}"] = torch.cat(parts)
        return buffer

    def _write_shard(self) -> None:
        content = save(self._buffer())
        total = sum(shard["bytes"] for shard in self._shards) + len(content)
        limit = self._options.max_bytes
        if limit is not None and total > limit:
            raise UsageError(
                f"save_activations: {self.folder} would need more than max_bytes={limit:,} bytes: "
                f"{self._n_rows + self._n_buffered:,} rows need {total:,}; choose fewer layers or words, "
                "dtype='float16', or a larger limit"
            )
        file = self.folder / f"activations-{len(self._shards):05d}.safetensors"
        with atomic_file(file) as new:
            new.write_bytes(content)
        self._shards.append(
            {
                "file": file.name,
                "rows": self._n_buffered,
                "bytes": len(content),
                "sha256": sha256(content).hexdigest(),
            }
        )
        self._n_rows += self._n_buffered
        self._clear()

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return the open shard, and what is known of the finished ones, as arrays."""
        about = {
            "shards": self._shards,
            "dtypes": self._dtypes,
            "loss": self._loss,
            "stored": {layer: str(parts[0].dtype) for layer, parts in self._values.items() if parts},
        }
        arrays = {"about": np.frombuffer(json.dumps(about).encode(), np.uint8)}
        for name, tensor in self._buffer().items():
            view = tensor.view(torch.int16) if tensor.dtype is torch.bfloat16 else tensor
            arrays[f"buffer/{name}"] = view.numpy()
        return arrays

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore what `state_dict` returned, before any document is added.

        Raises:
            OutputError: a finished shard is missing.
        """
        about = json.loads(state["about"].tobytes())
        self._shards, self._dtypes, self._loss = about["shards"], about["dtypes"], about["loss"]
        self._n_rows = sum(shard["rows"] for shard in self._shards)
        for shard in self._shards:
            file = self.folder / shard["file"]
            if not file.is_file() or file.stat().st_size != shard["bytes"]:
                raise OutputError(
                    f"{file}: missing or incomplete, but the checkpoint continues after it; remove {self.folder} and "
                    "the checkpoint, and collect again"
                )
        self._clear()
        buffer = {
            name.removeprefix("buffer/"): array for name, array in state.items() if name.startswith("buffer/")
        }
        columns = np.stack([buffer[f"rows.{name}"] for name in ROW_COLUMNS], axis=1)
        self._columns, self._n_buffered = [columns], len(columns)
        self._inputs = [buffer["inputs"].astype(np.int64)]
        if "inputs.probability" in buffer:
            self._probability = [np.array(buffer["inputs.probability"])]
        if "rows.tokens" in buffer:
            self._tokens = json.loads(buffer["rows.tokens"].tobytes())
        if "rows.outputs" in buffer:
            self._outputs = json.loads(buffer["rows.outputs"].tobytes())
        for layer, dtype in about["stored"].items():
            tensor = torch.from_numpy(np.array(buffer[f"layer.{layer}"]))
            bfloat16 = dtype == "torch.bfloat16"
            self._values[layer] = [tensor.view(torch.bfloat16) if bfloat16 else tensor]

    def finish(self, layers: Mapping[str, Mapping[str, Any]], about: Mapping[str, Any]) -> Path:
        """Write the rest, then the index that makes the folder complete; return its path.

        Args:
            layers: layer -> `neurons` and how it was read.
            about: model, corpus and how documents were read, as plain JSON values.

        Raises:
            UsageError, OutputError: as `append`.
        """
        if self._n_buffered or self._inputs or not self._shards:
            self._write_shard()
        assert self._documents is not None
        try:
            self._documents.close()
        except OSError as error:
            raise OutputError(f"{self._documents.name}: cannot be written: {error.strerror}") from error
        documents = self.folder / DOCUMENTS
        with atomic_file(documents) as new:
            Path(self._documents.name).replace(new)
        index = {
            "format": FORMAT,
            **about,
            "documents": {
                "file": DOCUMENTS,
                "n": self._n_documents,
                "words": self._n_words,
                "sha256": sha256_of(documents),
            },
            "layers": {
                layer: {
                    **settings,
                    "dtype": self._dtypes.get(layer, "float32"),
                    "stored": self._options.dtype or self._dtypes.get(layer, "float32"),
                    **self._measured_loss(layer),
                }
                for layer, settings in layers.items()
            },
            "rows": self._n_rows,
            "shards": self._shards,
            "settings": self._lock.settings,
        }
        write_text(self.folder / INDEX, json.dumps(index, indent=1, ensure_ascii=False) + "\n")
        (self.folder / UNFINISHED).unlink()
        return self.folder / INDEX

    def _measured_loss(self, layer: str) -> dict[str, float]:
        """Return the largest error of a stored activation, and the error of all relative to their size."""
        if layer not in self._loss:
            return {}
        largest, squared, size = self._loss[layer]
        return {"largest_error": largest, "relative_error": (squared / size) ** 0.5 if size else 0.0}

    def _claim(self) -> None:
        """Create the folder, or check that it belongs to this collection."""
        unfinished, index = self.folder / UNFINISHED, self.folder / INDEX
        stored = unfinished if unfinished.is_file() else index
        if stored.is_file():
            try:
                content = json.loads(stored.read_text(encoding="utf-8"))
                settings = content if stored == unfinished else content["settings"]
            except (OSError, ValueError, KeyError, TypeError):
                settings = None
            if stored == index and settings != self._lock.settings:
                raise OutputError(
                    f"{self.folder}: already holds activations; choose another folder, or remove it"
                )
            if not isinstance(settings, dict):
                raise OutputError(f"{unfinished}: damaged; remove {self.folder}")
            self._lock.require_same(settings)
        elif self.folder.exists() and not (
            self.folder.is_dir() and all(path.name.startswith(TEMP_PREFIX) for path in self.folder.iterdir())
        ):
            raise OutputError(
                f"{self.folder}: already exists and holds no activations; choose another folder, or remove it"
            )
        write_text(unfinished, json.dumps(self._lock.settings, indent=1) + "\n")
        # The same collection writes the same files again.
        index.unlink(missing_ok=True)

    def _remove_shards(self, after: int) -> None:
        for file in self.folder.glob("activations-*.safetensors"):
            number = file.name.removeprefix("activations-").removesuffix(".safetensors")
            if number.isdecimal() and int(number) >= after:
                with suppress(FileNotFoundError):
                    file.unlink()
