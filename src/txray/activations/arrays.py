"""Read arrays of activations, (tokens, neurons) per layer, with lists of tokens beside them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from txray.activations.stored import StoredLayer, checked
from txray.activations.tokens import TokenFiles
from txray.errors import CaptureError, UsageError, in_one_line
from txray.files import sha256_of
from txray.lru_cache import LRUCache

TOKENS = ("tokens.jsonl", "tokens.json")
SUFFIXES = (".safetensors", ".npy", ".npz")
_SHARD = re.compile(r"[-_.][0-9]{3,}(-of-[0-9]+)?\Z")
"""End of the name of a `.npy` file that holds a part of a layer."""
_CACHE_BYTES = 512 * 2**20


@dataclass(frozen=True)
class _Array:
    """A two-dimensional array in a file."""

    file: Path
    key: str
    rows: int
    neurons: int
    dtype: str


class ArrayFiles(TokenFiles):
    """Files of arrays: `.safetensors` and `.npz` with an array per layer, or a `.npy` per layer.

    Arrays of the same layer in several files follow one another in the order of the names of the files.
    """

    def __init__(self, files: Sequence[Path], tokens: Path, location: str, pooling: str) -> None:
        """Read the tokens, and the shapes of the arrays.

        Raises:
            CaptureError: a file is damaged, or its arrays do not have one row per token.
        """
        self._paths = [tokens, *files]
        self._cache = LRUCache(_CACHE_BYTES)
        documents = read_tokens(tokens)
        self._arrays: dict[str, list[_Array]] = {}
        for file in files:
            for array in _arrays_of(file):
                name = _SHARD.sub("", file.stem) if file.suffix == ".npy" else array.key
                self._arrays.setdefault(name, []).append(array)
        n = sum(len(tokens) for _, tokens in documents)
        layers = []
        for name, arrays in self._arrays.items():
            rows, neurons = sum(array.rows for array in arrays), {array.neurons for array in arrays}
            if rows != n or len(neurons) != 1:
                raise CaptureError(
                    f"{location}: layer {name!r} has {rows:,} rows of {', '.join(map(str, sorted(neurons)))} neurons, "
                    f"but {tokens.name} lists {n:,} tokens; store one row per token"
                )
            layers.append(StoredLayer(name, arrays[0].neurons, arrays[0].dtype))
        self._starts_of = {
            name: np.append(0, np.cumsum([array.rows for array in arrays]))
            for name, arrays in self._arrays.items()
        }
        super().__init__(location, "arrays", layers, documents, pooling)

    def rows(self, layer: str, first: int, last: int) -> Tensor:
        """Return the activations of consecutive rows of one document."""
        arrays, starts = self._arrays[layer], self._starts_of[layer]
        dtype = getattr(torch, self.layers[layer].dtype)
        parts = []
        while first < last:
            number = int(np.searchsorted(starts, first, side="right")) - 1
            stop = min(last, int(starts[number + 1]))
            array, low, high = arrays[number], first - int(starts[number]), stop - int(starts[number])
            shape = stop - first, self.layers[layer].neurons
            values = checked(partial(self._part, array, low, high), str(array.file), layer, shape)
            parts.append(values.to(dtype))
            first = stop
        return torch.cat(parts)

    def _part(self, array: _Array, first: int, last: int) -> Tensor:
        if array.file.suffix == ".safetensors":
            content = self._cache.get(array.file, lambda: _opened(array.file), lambda _: 1)
            values: Tensor = content.get_slice(array.key)[first:last]
            return values
        if array.file.suffix == ".npy":
            mapped = self._cache.get(
                array.file, lambda: np.load(array.file, mmap_mode="r", allow_pickle=False), lambda _: 1
            )
            return torch.from_numpy(np.array(mapped[first:last]))
        whole = self._cache.get((array.file, array.key), lambda: _member(array), lambda values: values.nbytes)
        return torch.from_numpy(whole[first:last].copy())

    def digest(self) -> str:
        """Return a hash of the content of the files."""
        return sha256("".join(map(sha256_of, self._paths)).encode()).hexdigest()


def _opened(file: Path) -> Any:
    return safe_open(file, framework="pt")


def _member(array: _Array) -> Any:
    with np.load(array.file, allow_pickle=False) as content:
        return content[array.key]


def _name_of(dtype: torch.dtype) -> str:
    """Return the name of the type that the values have when they are read."""
    return str(dtype if dtype.is_floating_point else torch.float32).removeprefix("torch.")


def _arrays_of(file: Path) -> list[_Array]:
    """Return the arrays of a file; only the headers of safetensors and `.npy` files are read."""
    try:
        if file.suffix == ".safetensors":
            opened = _opened(file)
            slices = {key: opened.get_slice(key) for key in opened.keys()}  # noqa: SIM118 (no mapping)
            contents = [(key, tuple(part.get_shape()), part[:0].dtype) for key, part in slices.items()]
        elif file.suffix == ".npy":
            array = np.load(file, mmap_mode="r", allow_pickle=False)
            contents = [("", array.shape, torch.from_numpy(np.zeros(0, array.dtype)).dtype)]
        else:
            contents = []
            with np.load(file, allow_pickle=False) as content:
                for key in content.files:
                    array = content[key]
                    contents.append((key, array.shape, torch.from_numpy(np.zeros(0, array.dtype)).dtype))
    except (OSError, ValueError, TypeError, EOFError, SafetensorError, RuntimeError) as error:
        raise CaptureError(
            f"{file}: no array of numbers that can be read safely ({in_one_line(error)}); write it again"
        ) from error
    for key, shape, dtype in contents:
        if dtype.is_complex:
            raise CaptureError(
                f"{file}: array {key or file.stem!r} holds complex numbers, which have no order"
            )
        if len(shape) != 2:
            raise CaptureError(
                f"{file}: array {key or file.stem!r} has shape {shape}; store (tokens, neurons), the tokens of all "
                "documents one after another"
            )
    return [_Array(file, key, shape[0], shape[1], _name_of(dtype)) for key, shape, dtype in contents]


def read_tokens(file: Path) -> list[tuple[str | None, Sequence[str]]]:
    """Return the id, if there is one, and the tokens of each document.

    Args:
        file: a JSON list, or JSON lines, of documents: a list of tokens, or an object with `tokens` and maybe `id`.

    Raises:
        CaptureError: the file holds something else.
    """
    try:
        text = file.read_text(encoding="utf-8")
        content = json.loads(text) if file.suffix == ".json" else list(map(json.loads, text.splitlines()))
        documents: list[tuple[str | None, Sequence[str]]] = []
        for number, document in enumerate(content):
            name, tokens = (
                (document.get("id"), document["tokens"]) if isinstance(document, dict) else (None, document)
            )
            if not isinstance(tokens, list):
                raise TypeError(f"document {number} is no list of tokens")
            documents.append((None if name is None else str(name), tokens))
        return documents
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CaptureError(
            f"{file}: no list of documents ({in_one_line(error)}); store a list of tokens per document, or objects "
            "with 'id' and 'tokens'"
        ) from error


def array_files(path: Path, pooling: str) -> ArrayFiles:
    """Return the arrays of a folder, or of one file with its tokens beside it.

    Raises:
        UsageError: the tokens are missing.
        CaptureError: see `ArrayFiles`.
    """
    folder = path if path.is_dir() else path.parent
    names = TOKENS if path.is_dir() else (*(f"{path.stem}.{name}" for name in TOKENS), *TOKENS)
    tokens = next((folder / name for name in names if (folder / name).is_file()), None)
    if tokens is None:
        raise UsageError(
            f"{path}: the tokens are missing; store them in {folder / TOKENS[0]}, one line per document: "
            '{"id": "d1", "tokens": ["It", "works"]}'
        )
    files = sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES) if path.is_dir() else [path]
    return ArrayFiles(files, tokens, str(path), pooling)
