"""The words that a window of activations covers: their features, and where they stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from txray.capture.encoding import EncodedDocument, Indices, ModelInput
from txray.capture.features import OUTPUT, features_of
from txray.capture.model_adapter import ForwardChunk
from txray.capture.responses import Check
from txray.errors import CaptureError
from txray.preferences import Occurrence
from txray.preferences.exemplars import CONTEXT

_LONGEST = 200
"""Characters shown of a word in an exemplar."""


@dataclass(frozen=True, eq=False)
class ChunkWords:
    """The words that a window covers and the layer answers to.

    Attributes:
        batch: what the model read.
        row: (n,) input of each word.
        word: (n,) its index in its document.
        key: (n,) hash of the document's id.
        fold: (n,) of the document.
        kept: (n_words of the window,) which of the window's words these are.
        window: that covers them.
    """

    batch: list[ModelInput]
    row: Indices
    word: Indices
    key: Indices
    fold: Indices
    kept: NDArray[np.bool_]
    window: ForwardChunk

    @classmethod
    def of(
        cls, batch: list[ModelInput], window: ForwardChunk, kept: NDArray[np.bool_], folds: int
    ) -> ChunkWords:
        """The words of a window that are kept."""
        row, word = window.row[kept], window.word[kept]
        key = np.array([encoded.text.key for encoded in batch], dtype=np.int64)[row]
        fold_key = np.array([encoded.text.fold_key for encoded in batch], dtype=np.int64)[row]
        return cls(batch, row, word, key, fold_key % folds, kept, window)

    def __len__(self) -> int:
        return len(self.row)

    def features(self, feature_type: str) -> list[str]:
        """(n,) the feature of one kind at each word."""
        if feature_type == OUTPUT:
            outputs = self.window.outputs or []
            return outputs if self.kept.all() else [outputs[i] for i in np.flatnonzero(self.kept)]
        names: list[str] = []
        for row, words in self._by_input():
            found = features_of(feature_type, self.batch[row].text)
            # Mostly a run of words: cut out at once.
            if words[-1] - words[0] == len(words) - 1:
                names += found[words[0] : words[-1] + 1]
            else:
                names += [found[word] for word in words]
        return names

    def pieces(self) -> tuple[list[str], Indices]:
        """(n_pieces,) the pieces of the words, and (n_pieces,) which word each belongs to."""
        names: list[str] = []
        sizes: list[int] = []
        for row, words in self._by_input():
            encoded = self.batch[row]
            if not encoded.pieces:
                raise CaptureError(
                    f"document {encoded.text.document.id!r}: the model's encoding has no pieces with names; "
                    "leave the feature 'subword' out"
                )
            ends = np.append(encoded.starts[1:], len(encoded.steps))
            for at in np.searchsorted(encoded.words, words).tolist():
                names += encoded.pieces[int(encoded.starts[at]) : int(ends[at])]
                sizes.append(int(ends[at] - encoded.starts[at]))
        return names, np.repeat(np.arange(len(sizes)), sizes)

    def check(self, layer: str, owner: Indices | None = None) -> Check:
        """A function that refuses units of which a number is not finite.

        Args:
            layer: its name, for errors.
            owner: (n_units,) the word of each unit; the words themselves by default.
        """

        def refuse(per_unit: NDArray[np.floating]) -> None:
            finite = np.isfinite(per_unit)
            if finite.all():
                return
            unit = int(np.flatnonzero(~finite)[0])
            i = unit if owner is None else int(owner[unit])
            document, position = self.batch[int(self.row[i])].text.document, int(self.word[i])
            raise CaptureError(
                f"layer {layer!r}: activation {float(per_unit[unit])} in document {document.id!r}, "
                f"word {position} ({document.words[position][:40]!r}); the model's weights are broken, or "
                "its activations overflow"
            )

        return refuse

    def occurrence(self, i: int) -> Occurrence:
        """Word i with the words around it."""
        row, word, window = int(self.row[i]), int(self.word[i]), self.window
        known = window.occurrences.get((row, word))
        if known is None:
            at = int(np.flatnonzero(self.kept)[i]) if window.outputs is not None else 0
            known = window.occurrences[row, word] = occurrence_of(
                self.batch[row].text,
                word,
                output=None if window.outputs is None else window.outputs[at],
                probability=None if window.probability is None else float(window.probability[row]),
            )
        return known

    def _by_input(self) -> Iterator[tuple[int, list[int]]]:
        """Each input, and its words."""
        starts = np.flatnonzero(np.diff(self.row, prepend=-1))
        for start, end in zip(starts.tolist(), np.append(starts[1:], len(self.row)).tolist(), strict=True):
            yield int(self.row[start]), self.word[start:end].tolist()


def occurrence_of(
    text: EncodedDocument, position: int, *, output: str | None = None, probability: float | None = None
) -> Occurrence:
    """A word with the words around it, cut to a length that can be shown."""
    words = text.document.words
    return Occurrence(
        document=text.document.id,
        position=position,
        word=_shown(words[position]),
        before=_joined(words[max(0, position - CONTEXT) : position]),
        after=_joined(words[position + 1 : position + 1 + CONTEXT]),
        output=output,
        probability=probability,
        label=text.document.labels.get("label"),
    )


def _joined(words: Sequence[str]) -> str:
    # Whoever splits the text at its spaces must find these words again: each has an activation of its own.
    return " ".join(_shown(word).replace(" ", "␣") for word in words)


def _shown(word: str) -> str:
    # A megabyte that passes for a word would be kept eight times per neuron.
    return word if len(word) <= _LONGEST else word[: _LONGEST - 1] + "…"
