"""Stored activations of any format: layers, documents, and one row per token."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from txray.activations.folding import text_key
from txray.corpus.corpus import Corpus
from txray.corpus.document import Document, words_key
from txray.errors import CaptureError
from txray.text import plural

Indices = NDArray[np.int64]

Pooling = Literal["max", "mean", "first", "last"]
"""How the pieces of a word are combined."""


@dataclass(frozen=True)
class StoredLayer:
    """A layer with stored activations.

    Attributes:
        name: its name in stages.
        neurons: number of its neurons.
        dtype: type of its values as they are read, such as `float32`.
        settings: how the layer was read from its model (`lag`, `missing`, `call` and others); empty if unknown.
    """

    name: str
    neurons: int
    dtype: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class StoredInput:
    """One input of the model with the rows of its activations.

    Attributes:
        rows: (n_tokens,) number of the row of each token.
        tokens: (n_tokens,) the tokens; empty if they have no names.
        word: (n_tokens,) word of each token; None if it must be found by aligning the tokens with the words.
        step: (n_tokens,) position of each token in the input.
        positions: number of positions of the input, with those that have no row, such as `[CLS]`.
        outputs: (n_tokens,) output of the model at each token; None if it is not stored.
        probability: probability of the class `pos`; None if the model is no classifier.
    """

    rows: Indices
    tokens: Sequence[str]
    word: Indices | None
    step: Indices
    positions: int
    outputs: Sequence[str] | None = None
    probability: float | None = None


@dataclass(frozen=True, eq=False)
class StoredText:
    """A stored document.

    Attributes:
        document: the document as the model read it; its words are the tokens if nothing else is known.
        inputs: its inputs, in the order of the text.
        forms: position of a word -> its form, where that is not the word in lower case.
        skipped: number of words that the model did not read, by reason.
        read_as: how the text was read; empty if there is nothing to say.
    """

    document: Document
    inputs: Sequence[StoredInput]
    forms: Mapping[int, str] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    read_as: str = ""


class ActivationFiles(Protocol):
    """Files or a data set with activations.

    Attributes:
        location: names them in errors.
        format: name of the format.
        layers: the layers by name.
        model: type of the model, and what else is known about it, as plain JSON values.
        settings: how documents were read, as plain JSON values.
        pooling: how the pieces of a word are combined.
        padded, chunk_steps: how inputs were grouped; see `txray.capture.source.ActivationSource`.
        n_documents: number of stored documents.
        has_ids: whether the documents have ids of their own.
    """

    location: str
    format: str
    layers: Mapping[str, StoredLayer]
    model: Mapping[str, Any]
    settings: Mapping[str, Any]
    pooling: str
    padded: bool
    chunk_steps: int | None
    n_documents: int
    has_ids: bool

    def text(self, number: int) -> StoredText:
        """Return a stored document by its number."""

    def identities(self) -> Iterator[tuple[str, int]]:
        """Yield the id and the hash of the text (see `text_key`) of each document, in order."""

    def rows(self, layer: str, first: int, last: int) -> Tensor:
        """Return the (last - first, neurons) activations of consecutive rows of one document."""

    def digest(self) -> str:
        """Return a hash of everything that is stored.

        Raises:
            CaptureError: the content of a file is not what was written.
        """


@dataclass(frozen=True, eq=False)
class StoredActivations:
    """Activations that are read from files instead of being computed; takes the place of a model in `txray.collect`.

    >>> stored = txray.read_activations("activations")  # doctest: +SKIP
    >>> stage = txray.collect(stored, stored.corpus(), layers="**", name="stored")  # doctest: +SKIP

    Attributes:
        files: where the activations are read from.
        device: device that they are moved to.
    """

    files: ActivationFiles
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def name(self) -> str:
        """Return the name of the model, or that of the format if it is unknown."""
        return str(self.files.model.get("type") or self.files.format)

    @property
    def layers(self) -> Mapping[str, StoredLayer]:
        """Return the stored layers by name."""
        return self.files.layers

    @property
    def n_documents(self) -> int:
        """Return the number of stored documents."""
        return self.files.n_documents

    @cached_property
    def fingerprint(self) -> str:
        """Return a hash of everything that is stored; reads all files once.

        Raises:
            CaptureError: the content of a file is not what was written.
        """
        return self.files.digest()

    def corpus(self, name: str | None = None) -> Corpus:
        """Return the stored documents as a corpus; the words are the tokens unless the words are stored, too.

        Args:
            name: name of the corpus; by default that of the files.
        """
        files = self.files

        def documents(skipped: Counter[str]) -> Iterator[Document]:
            for number in range(files.n_documents):
                yield files.text(number).document

        return Corpus(name or files.location, documents, fingerprint=lambda: _hash_of_texts(files))

    def to(self, device: torch.device | str) -> StoredActivations:
        """Return the same activations, moved to a device as they are read."""
        return replace(self, device=torch.device(device))

    def find(self, document: Document) -> StoredText | None:
        """Return what is stored for a document, by its id or else by its text; None if there is nothing.

        Raises:
            CaptureError: a document of the same id has other words.
        """
        by_id, repeated, by_text, keys = self._numbers
        key = text_key(document.words)
        number = repeated.get((document.id, key), by_id.get(document.id))
        if number is not None and self.files.has_ids:
            return self.files.text(number)
        # Numbers in place of ids say nothing about documents of another source.
        if number is not None and (keys[number] == key or document.cut_from is not None):
            text = self.files.text(number)
            if keys[number] == key or document.cut_from == words_key(text.document.words):
                return text
        number = by_text.get(key)
        if number is None:
            return None
        text = self.files.text(number)
        # Equal but for case or accents is enough for tokens, but not where the words are stored.
        exact = any(stored.word is not None for stored in text.inputs)
        return None if exact and text.document.words != tuple(document.words) else text

    @cached_property
    def _numbers(self) -> tuple[dict[str, int], dict[tuple[str, int], int], dict[int, int], list[int]]:
        by_id: dict[str, int] = {}
        repeated: dict[tuple[str, int], int] = {}
        by_text: dict[int, int] = {}
        keys: list[int] = []
        for number, (id_, key) in enumerate(self.files.identities()):
            if by_id.setdefault(id_, number) != number and keys[by_id[id_]] != key:
                repeated.setdefault((id_, key), number)
            by_text.setdefault(key, number)
            keys.append(key)
        return by_id, repeated, by_text, keys

    def __repr__(self) -> str:
        layers = ", ".join(f"{layer.name!r}: {layer.neurons}" for layer in list(self.layers.values())[:4])
        return (
            f"StoredActivations({self.files.location!r}, {self.files.format}, "
            f"{plural(self.n_documents, 'document')}, {{{layers}{', ...' if len(self.layers) > 4 else ''}}})"
        )


def _hash_of_texts(files: ActivationFiles) -> str:
    digest = sha256(b"stored activations")
    for number in range(files.n_documents):
        document = files.text(number).document
        digest.update(repr((document.id, document.words)).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def checked(read: Callable[[], Tensor], location: str, layer: str, shape: tuple[int, int]) -> Tensor:
    """Return what `read` gives, as floating-point numbers.

    Raises:
        CaptureError: it fails, or gives another shape.
    """
    try:
        values = read()
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise CaptureError(
            f"{location}: layer {layer!r} cannot be read ({error}); write the file again"
        ) from error
    if tuple(values.shape) != shape:
        raise CaptureError(
            f"{location}: layer {layer!r} has {tuple(values.shape)} activations instead of {shape}, one row per token "
            "and one column per neuron; correct the file"
        )
    return values if values.is_floating_point() else values.float()
