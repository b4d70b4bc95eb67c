"""Selection `max-position`: each neuron is credited with its strongest word of each document."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from txray.capture.activations import SelectedActivations
from txray.capture.text.context import around
from txray.capture.text.encoding import EncodedDocument, Indices
from txray.capture.text.words import ChunkWords
from txray.errors import CorpusError
from txray.preferences.exemplars import CONTEXT

Surroundings = Callable[[Indices], NDArray[np.floating]]
"""(m,) neurons -> (m, 2 * CONTEXT + 1) activations around their strongest words of a document."""


@dataclass(slots=True)
class _OpenDocument:
    """A document of which some words are still missing.

    Attributes:
        encoded: the document; None after a restart, until the next part of it arrives.
        missing: number of missing words.
        covered: number of words so far that the layer covers.
        value, word: (n_neurons,) strongest activation so far, and its word.
        around: (n_neurons, 2 * CONTEXT + 1) activations around that word. None while the document is in one part: then
            they are computed only for the few neurons that need them for exemplars.
    """

    encoded: EncodedDocument | None
    missing: int
    covered: int
    value: NDArray[np.floating]
    word: Indices
    around: NDArray[np.float64] | None = None


class StrongestPositions:
    """Keeps the strongest word of each neuron in documents that are not complete yet; ties go to the first word."""

    def __init__(self) -> None:
        """Start without documents."""
        self._open: dict[int, _OpenDocument] = {}

    def offer(
        self, dense: NDArray[np.floating], words: ChunkWords
    ) -> Iterator[tuple[EncodedDocument, int, SelectedActivations, Surroundings]]:
        """Add words with their (n_words, n_neurons) activations, and yield the documents that are complete now.

        Yields:
            Each complete document, the number of its words that the layer covers, its selected activations with words
            as groups, and a function that returns the activations around them.
        """
        # Words that the layer does not cover are counted too, otherwise a document would never be complete.
        expected = np.bincount(words.chunk.row, minlength=len(words.chunk.batch))
        bounds = np.searchsorted(words.row, np.arange(len(words.chunk.batch) + 1))
        for row, model_input in enumerate(words.chunk.batch):
            if expected[row] == 0:
                continue
            document = self._document(model_input.encoded, dense.shape[1], dense.dtype)
            part = slice(int(bounds[row]), int(bounds[row + 1]))
            around_strongest = partial(_around_strongest, dense[part], words.word[part], document)
            stronger = _update_strongest(document, dense[part], words.word[part])
            if expected[row] < model_input.encoded.readable:
                if document.around is None:
                    document.around = np.full((dense.shape[1], 2 * CONTEXT + 1), np.nan)
                document.around[stronger] = around_strongest(stronger)
            document.covered += part.stop - part.start
            document.missing -= int(expected[row])
            if document.missing == 0:
                del self._open[model_input.encoded.key]
                activations = SelectedActivations.of(document.word, np.arange(dense.shape[1]), document.value)
                surroundings = around_strongest if document.around is None else document.around.__getitem__
                yield model_input.encoded, document.covered, activations, surroundings

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return the whole state as arrays."""
        documents = self._open.values()
        counts = [(key, document.missing, document.covered) for key, document in self._open.items()]
        return {
            "open": np.array(counts, np.int64).reshape(-1, 3),
            "value": np.array([document.value for document in documents], np.float64),
            "word": np.array([document.word for document in documents], np.int64),
            "around": np.array([document.around for document in documents], np.float64),
        }

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore what `state_dict` returned."""
        self._open = {
            key: _OpenDocument(None, missing, covered, value, word, around)
            for (key, missing, covered), value, word, around in zip(
                state["open"].tolist(), state["value"], state["word"], state["around"], strict=True
            )
        }

    def _document(
        self, encoded: EncodedDocument, n_neurons: int, dtype: np.dtype[np.floating]
    ) -> _OpenDocument:
        document = self._open.get(encoded.key)
        if document is None:
            document = _OpenDocument(
                encoded, encoded.readable, 0, np.zeros(n_neurons, dtype), np.zeros(n_neurons, np.int64)
            )
            self._open[encoded.key] = document
        elif document.encoded not in (None, encoded):
            raise CorpusError(f"document {encoded.document.id!r}: occurs twice; ids must differ")
        document.encoded = encoded
        return document


def _update_strongest(document: _OpenDocument, dense: NDArray[np.floating], words: Indices) -> Indices:
    """Add a part of a document, and return the neurons that have a stronger word now."""
    if len(dense) == 0:
        return np.zeros(0, np.int64)
    row = dense.argmax(axis=0)
    value, word = np.take_along_axis(dense, row[None], axis=0)[0], words[row]
    # Parts of a document may arrive in any order.
    stronger = (value > document.value) | ((value == document.value) & (word < document.word))
    document.value = np.where(stronger, value, document.value)
    document.word = np.where(stronger, word, document.word)
    return np.flatnonzero(stronger)


def _around_strongest(
    dense: NDArray[np.floating], words: Indices, document: _OpenDocument, neuron: Indices
) -> NDArray[np.floating]:
    """Return (m, 2 * CONTEXT + 1) activations of neurons around their strongest words, all of them in this part."""
    group = np.searchsorted(words, document.word[neuron])
    return around(np.zeros_like(words), words, group, neuron, lambda group, neuron: dense[group, neuron])
