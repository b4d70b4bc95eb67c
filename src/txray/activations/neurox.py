"""Read activations that NeuroX wrote: HDF5 files and JSON lines."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from txray._optional import import_extra
from txray.activations.stored import StoredLayer, checked
from txray.activations.tokens import TokenFiles, unmarked
from txray.errors import CaptureError, in_one_line
from txray.files import sha256_of
from txray.lru_cache import LRUCache

_INDEX = "sentence_to_index"
_OCCURRENCE = re.compile(r" \(Occurrence [0-9]+\)\Z")
"""Added by NeuroX to a sentence that occurs again."""
_LAYER_FILE = re.compile(r"-layer([0-9]+)\Z")
"""End of the name of a file that holds one layer."""
_CACHE_BYTES = 64 * 2**20


class NeuroXHdf5(TokenFiles):
    """HDF5 files: a dataset (layers, tokens, neurons) per sentence, and an index of the sentences.

    Layers are called `layer.0`, `layer.1` and so on, by their number in the file, or by that in the name of a file with
    one layer.
    """

    def __init__(self, files: Sequence[Path], location: str, pooling: str) -> None:
        """Open the files, and read the index and the shapes.

        Raises:
            UsageError: h5py is not installed.
            CaptureError: a file is damaged, or shapes differ.
        """
        h5py = import_extra(f"{location}: HDF5 needs", "hdf5", "h5py")
        self._paths = list(files)
        try:
            self._files = [h5py.File(file, "r") for file in files]
        except OSError as error:
            raise CaptureError(f"{location}: no HDF5 file ({in_one_line(error)}); write it again") from error
        self._keys: list[str] = []
        documents: list[list[str]] = []
        shape: tuple[int, ...] = ()
        for sentence, key in _sentences(self._files[0], location):
            sizes = [self._dataset(file, key, location).shape for file in self._files]
            tokens = _words(sentence, sizes[0][-2])
            shape = shape or (sizes[0][:-2] or (1,)) + sizes[0][-1:]
            for size in sizes:
                if (size[:-2] or (1,)) + size[-1:] != shape or size[-2] != len(tokens):
                    raise CaptureError(
                        f"{location}: dataset {key!r} has shape {size}, expected ({shape[0]}, {len(tokens)}, "
                        f"{shape[1]}) for {len(tokens)} tokens; extract the activations again"
                    )
            self._keys.append(key)
            documents.append(tokens)
        self._sources: dict[str, tuple[int, int]] = {}
        for number, file in enumerate(files):
            named = _LAYER_FILE.search(file.stem)
            for layer in range(shape[0] if shape else 0):
                name = f"layer.{named[1]}" if named and shape[0] == 1 else f"layer.{layer}"
                if name in self._sources:
                    raise CaptureError(f"{file}: another file holds {name!r}, too; read one of them")
                self._sources[name] = number, layer
        layers = [StoredLayer(name, shape[1], "float32") for name in self._sources]
        super().__init__(location, "NeuroX HDF5", layers, _documents(documents), pooling)

    def _dataset(self, file: Any, key: str, location: str) -> Any:
        dataset = file.get(key)
        # A dataset of objects or strings has no numbers.
        if (
            dataset is None
            or not hasattr(dataset, "dtype")
            or dataset.dtype.kind != "f"
            or dataset.ndim not in (2, 3)
        ):
            raise CaptureError(
                f"{location}: dataset {key!r} is missing, or no array (layers, tokens, neurons) of floating-point "
                "numbers; extract the activations again"
            )
        return dataset

    def rows(self, layer: str, first: int, last: int) -> Tensor:
        """Return the activations of consecutive rows of one sentence."""
        number, start = self.document_at(first)
        file, index = self._sources[layer]
        dataset = self._files[file][self._keys[number]]
        part = slice(first - start, last - start)
        shape = last - first, self.layers[layer].neurons

        def read() -> Tensor:
            values = dataset[index, part] if dataset.ndim == 3 else dataset[part]
            return torch.from_numpy(np.ascontiguousarray(values, np.float32))

        return checked(read, self.location, layer, shape)

    def digest(self) -> str:
        """Return a hash of the content of the files."""
        return sha256("".join(map(sha256_of, self._paths)).encode()).hexdigest()


def _documents(sentences: list[list[str]]) -> list[tuple[None, list[str]]]:
    """Return the words of each sentence; NeuroX joins them from pieces, marks included, or leaves them empty."""
    return [(None, words) for words in unmarked(sentences)]


def _sentences(file: Any, location: str) -> list[tuple[str, str]]:
    """Return sentence and dataset, in the order of the numbers of the datasets."""
    try:
        (encoded,) = file[_INDEX][:]
        index = json.loads(encoded)
        pairs = [(str(sentence), str(key)) for sentence, key in index.items()]
        return sorted(pairs, key=lambda pair: int(pair[1]))
    except (KeyError, TypeError, ValueError, AttributeError, OSError, RecursionError) as error:
        raise CaptureError(
            f"{location}: has no dataset {_INDEX!r} with a JSON object of sentences ({in_one_line(error)}); NeuroX "
            "writes it when the extraction is complete"
        ) from error


def _words(sentence: str, n: int) -> list[str]:
    words = sentence.split(" ")
    return words if len(words) == n else _OCCURRENCE.sub("", sentence).split(" ")


class NeuroXJson(TokenFiles):
    """JSON lines: one sentence per line, with tokens and the values of each layer."""

    def __init__(self, files: Sequence[Path], location: str, pooling: str) -> None:
        """Read the tokens, and where each line begins.

        Raises:
            CaptureError: a line is damaged, or shapes differ.
        """
        self._paths = list(files)
        self._lines: list[list[int]] = []
        self._cache = LRUCache(_CACHE_BYTES)
        documents: list[list[str]] = []
        self._sources: dict[str, tuple[int, int]] = {}
        neurons: dict[str, int] = {}
        for number, file in enumerate(files):
            offsets, offset = [], 0
            with file.open("rb") as stream:
                for line_number, line in enumerate(stream, 1):
                    tokens, values = _parsed(line, f"{file}, line {line_number}")
                    named = _LAYER_FILE.search(file.stem)
                    for i in range(len(values)):
                        name = f"layer.{named[1]}" if named and len(values) == 1 else f"layer.{i}"
                        if self._sources.setdefault(name, (number, i)) != (number, i):
                            raise CaptureError(f"{file}: another file holds {name!r}, too; read one of them")
                        if neurons.setdefault(name, values.shape[2]) != values.shape[2]:
                            raise CaptureError(
                                f"{file}, line {line_number}: {values.shape[2]} neurons instead of {neurons[name]}; "
                                "extract the activations again"
                            )
                    offsets.append(offset)
                    offset += len(line)
                    if number == 0:
                        documents.append(tokens)
                    elif line_number > len(documents) or documents[line_number - 1] != tokens:
                        raise CaptureError(
                            f"{file}, line {line_number}: other tokens than in {files[0].name}"
                        )
            self._lines.append(offsets)
        layers = [StoredLayer(name, n, "float32") for name, n in neurons.items()]
        super().__init__(location, "NeuroX JSON", layers, _documents(documents), pooling)

    def rows(self, layer: str, first: int, last: int) -> Tensor:
        """Return the activations of consecutive rows of one sentence."""
        number, start = self.document_at(first)
        file, index = self._sources[layer]

        def read() -> Tensor:
            values = self._cache.get(
                (file, number), lambda: self._read(file, number), lambda array: array.nbytes
            )
            return torch.from_numpy(values[index, first - start : last - start].copy())

        return checked(read, self.location, layer, (last - first, self.layers[layer].neurons))

    def _read(self, file: int, number: int) -> NDArray[np.float32]:
        with self._paths[file].open("rb") as stream:
            stream.seek(self._lines[file][number])
            return _parsed(stream.readline(), f"{self._paths[file]}, line {number + 1}")[1]

    def digest(self) -> str:
        """Return a hash of the content of the files."""
        return sha256("".join(map(sha256_of, self._paths)).encode()).hexdigest()


def _parsed(line: bytes, location: str) -> tuple[list[str], NDArray[np.float32]]:
    """Return the tokens of a line, and (layers, tokens, neurons) their activations."""
    try:
        features = json.loads(line)["features"]
        tokens = [feature["token"] for feature in features]
        if not all(isinstance(token, str) for token in tokens):
            raise TypeError("a token is no text")
        values = np.array(
            [[layer["values"] for layer in feature["layers"]] for feature in features], np.float32
        )
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CaptureError(
            f"{location}: no sentence with tokens and layers of equal size ({in_one_line(error)}); extract the "
            "activations again"
        ) from error
    if values.ndim != 3:
        raise CaptureError(
            f"{location}: no tokens, or layers of different size; extract the activations again"
        )
    return tokens, values.transpose(1, 0, 2)
