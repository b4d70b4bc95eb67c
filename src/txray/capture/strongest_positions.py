"""Selection `max-position`: each neuron credits its strongest word of each document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from txray.capture.encoding import Indices, Text
from txray.capture.responses import Responses
from txray.capture.words import Words
from txray.errors import CorpusError


@dataclass(slots=True)
class _Open:
    """A document of which some words are still to come.

    Attributes:
        text: the document; None after a restart, until more of it comes.
        left: words to come.
        answered: words so far that the layer answered to.
        value, word: (n_neurons,) the strongest activation so far, and where.
    """

    text: Text | None
    left: int
    answered: int
    value: NDArray[np.floating]
    word: Indices


class StrongestPositions:
    """Keeps the strongest word of each neuron of the documents that are not complete; of equals, the first."""

    def __init__(self) -> None:
        """Start without documents."""
        self._open: dict[int, _Open] = {}

    def offer(self, dense: NDArray[np.floating], words: Words) -> Iterator[tuple[Text, int, Responses]]:
        """Add words, and give what is complete.

        Args:
            dense: (n_words, n_neurons) their activations.
            words: n_words of them.

        Yields:
            Each document of which the last word was added, how many words of it the layer answered to, and its
            responses, with words as units.
        """
        # A document counts the words that the layer does not answer to as well, or it would never end.
        expected = np.bincount(words.window.row, minlength=len(words.batch))
        bounds = np.searchsorted(words.row, np.arange(len(words.batch) + 1))
        for row, encoded in enumerate(words.batch):
            if expected[row] == 0:
                continue
            document = self._document(encoded.text, dense.shape[1], dense.dtype)
            here = slice(int(bounds[row]), int(bounds[row + 1]))
            _strengthen(document, dense[here], words.word[here])
            document.answered += here.stop - here.start
            document.left -= int(expected[row])
            if document.left == 0:
                del self._open[encoded.text.key]
                responses = Responses.of(document.word, np.arange(dense.shape[1]), document.value)
                yield encoded.text, document.answered, responses

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything it holds, as arrays."""
        held = list(self._open.items())
        return {
            "open": np.array([(key, each.left, each.answered) for key, each in held], np.int64).reshape(
                -1, 3
            ),
            "value": np.array([each.value for _, each in held], np.float64),
            "word": np.array([each.word for _, each in held], np.int64),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Become what `state` was taken from."""
        self._open = {
            key: _Open(None, left, answered, value, word)
            for (key, left, answered), value, word in zip(
                state["open"].tolist(), state["value"], state["word"], strict=True
            )
        }

    def _document(self, text: Text, n_neurons: int, dtype: np.dtype[np.floating]) -> _Open:
        found = self._open.get(text.key)
        if found is None:
            found = _Open(text, text.readable, 0, np.zeros(n_neurons, dtype), np.zeros(n_neurons, np.int64))
            self._open[text.key] = found
        elif found.text not in (None, text):
            raise CorpusError(f"document {text.document.id!r}: occurs twice; ids must differ")
        found.text = text
        return found


def _strengthen(document: _Open, dense: NDArray[np.floating], words: Indices) -> None:
    if len(dense) == 0:
        return
    place = dense.argmax(axis=0)
    value, word = np.take_along_axis(dense, place[None], axis=0)[0], words[place]
    # Parts of a document may come in any order.
    stronger = (value > document.value) | ((value == document.value) & (word < document.word))
    document.value = np.where(stronger, value, document.value)
    document.word = np.where(stronger, word, document.word)
