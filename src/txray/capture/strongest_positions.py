"""Selection `max-position`: each neuron credits its strongest word of each document."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from txray.capture.activations import SelectedActivations
from txray.capture.context import around
from txray.capture.encoding import EncodedDocument, Indices
from txray.capture.words import ChunkWords
from txray.errors import CorpusError
from txray.preferences.exemplars import CONTEXT

Surroundings = Callable[[Indices], NDArray[np.floating]]
"""(m,) neurons -> (m, 2 * CONTEXT + 1) their activations around their strongest words of a document."""


@dataclass(slots=True)
class _Open:
    """A document of which some words are still to come.

    Attributes:
        encoded: the document; None after a restart, until more of it comes.
        left: words to come.
        answered: words so far that the layer answered to.
        value, word: (n_neurons,) the strongest activation so far, and where.
        around: (n_neurons, 2 * CONTEXT + 1) the activations around it. None while all of the document came at once:
            then they are looked up, for those few neurons whose exemplars they are.
    """

    encoded: EncodedDocument | None
    left: int
    answered: int
    value: NDArray[np.floating]
    word: Indices
    around: NDArray[np.float64] | None = None


class StrongestPositions:
    """Keeps the strongest word of each neuron of the documents that are not complete; of equals, the first."""

    def __init__(self) -> None:
        """Start without documents."""
        self._open: dict[int, _Open] = {}

    def offer(
        self, dense: NDArray[np.floating], words: ChunkWords
    ) -> Iterator[tuple[EncodedDocument, int, SelectedActivations, Surroundings]]:
        """Add words, and give what is complete.

        Args:
            dense: (n_words, n_neurons) their activations.
            words: n_words of them.

        Yields:
            Each document of which the last word was added, how many words of it the layer answered to, its
            activations, with words as groups, and what is around them.
        """
        # A document counts the words that the layer does not answer to as well, or it would never end.
        expected = np.bincount(words.chunk.row, minlength=len(words.batch))
        bounds = np.searchsorted(words.row, np.arange(len(words.batch) + 1))
        for row, model_input in enumerate(words.batch):
            if expected[row] == 0:
                continue
            document = self._document(model_input.encoded, dense.shape[1], dense.dtype)
            here = slice(int(bounds[row]), int(bounds[row + 1]))
            part = partial(_around, dense[here], words.word[here], document)
            stronger = _strengthen(document, dense[here], words.word[here])
            if expected[row] < model_input.encoded.readable:
                if document.around is None:
                    document.around = np.full((dense.shape[1], 2 * CONTEXT + 1), np.nan)
                document.around[stronger] = part(stronger)
            document.answered += here.stop - here.start
            document.left -= int(expected[row])
            if document.left == 0:
                del self._open[model_input.encoded.key]
                activations = SelectedActivations.of(document.word, np.arange(dense.shape[1]), document.value)
                known = part if document.around is None else document.around.__getitem__
                yield model_input.encoded, document.answered, activations, known

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Everything it holds, as arrays."""
        held = list(self._open.items())
        return {
            "open": np.array([(key, each.left, each.answered) for key, each in held], np.int64).reshape(
                -1, 3
            ),
            "value": np.array([each.value for _, each in held], np.float64),
            "word": np.array([each.word for _, each in held], np.int64),
            "around": np.array([each.around for _, each in held], np.float64),
        }

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Become what `state` was taken from."""
        self._open = {
            key: _Open(None, left, answered, value, word, known)
            for (key, left, answered), value, word, known in zip(
                state["open"].tolist(), state["value"], state["word"], state["around"], strict=True
            )
        }

    def _document(self, encoded: EncodedDocument, n_neurons: int, dtype: np.dtype[np.floating]) -> _Open:
        found = self._open.get(encoded.key)
        if found is None:
            found = _Open(
                encoded, encoded.readable, 0, np.zeros(n_neurons, dtype), np.zeros(n_neurons, np.int64)
            )
            self._open[encoded.key] = found
        elif found.encoded not in (None, encoded):
            raise CorpusError(f"document {encoded.document.id!r}: occurs twice; ids must differ")
        found.encoded = encoded
        return found


def _strengthen(document: _Open, dense: NDArray[np.floating], words: Indices) -> Indices:
    """Add a part of a document; the neurons that have a stronger word now."""
    if len(dense) == 0:
        return np.zeros(0, np.int64)
    place = dense.argmax(axis=0)
    value, word = np.take_along_axis(dense, place[None], axis=0)[0], words[place]
    # Parts of a document may come in any order.
    stronger = (value > document.value) | ((value == document.value) & (word < document.word))
    document.value = np.where(stronger, value, document.value)
    document.word = np.where(stronger, word, document.word)
    return np.flatnonzero(stronger)


def _around(
    dense: NDArray[np.floating], words: Indices, document: _Open, neuron: Indices
) -> NDArray[np.floating]:
    """(m, 2 * CONTEXT + 1) of some neurons around their strongest words, which are all in this part."""
    group = np.searchsorted(words, document.word[neuron])
    return around(np.zeros_like(words), words, group, neuron, lambda group, neuron: dense[group, neuron])
