"""The words that a chunk of activations covers: their features, and where they stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from txray.capture.activations import Check
from txray.capture.encoding import EncodedDocument, Indices, ModelInput
from txray.capture.features import OUTPUT, features_of
from txray.capture.model_adapter import ForwardChunk
from txray.errors import CaptureError
from txray.preferences import Occurrence
from txray.preferences.exemplars import CONTEXT

_LONGEST = 200
"""Characters shown of a word in an exemplar."""


@dataclass(frozen=True, eq=False)
class ChunkWords:
    """The words that a chunk covers and the layer answers to.

    Attributes:
        batch: what the model read.
        row: (n,) input of each word.
        word: (n,) its index in its document.
        key: (n,) hash of the document's id.
        fold: (n,) of the document.
        kept: (n_words of the chunk,) which of the chunk's words these are.
        chunk: that covers them.
    """

    batch: list[ModelInput]
    row: Indices
    word: Indices
    key: Indices
    fold: Indices
    kept: NDArray[np.bool_]
    chunk: ForwardChunk

    @classmethod
    def of(
        cls, batch: list[ModelInput], chunk: ForwardChunk, kept: NDArray[np.bool_], folds: int
    ) -> ChunkWords:
        """The words of a chunk that are kept."""
        row, word = chunk.row[kept], chunk.word[kept]
        key = np.array([model_input.encoded.key for model_input in batch], dtype=np.int64)[row]
        fold_key = np.array([model_input.encoded.fold_key for model_input in batch], dtype=np.int64)[row]
        return cls(batch, row, word, key, fold_key % folds, kept, chunk)

    def __len__(self) -> int:
        return len(self.row)

    def features(self, feature_type: str) -> list[str]:
        """(n,) the feature of one kind at each word."""
        if feature_type == OUTPUT:
            outputs = self.chunk.outputs or []
            return outputs if self.kept.all() else [outputs[i] for i in np.flatnonzero(self.kept)]
        names: list[str] = []
        for row, words in self._by_input():
            found = features_of(feature_type, self.batch[row].encoded)
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
            model_input = self.batch[row]
            if not model_input.pieces:
                raise CaptureError(
                    f"document {model_input.encoded.document.id!r}: the model's encoding has no pieces with names; "
                    "leave the feature 'subword' out"
                )
            ends = np.append(model_input.starts[1:], len(model_input.steps))
            for at in np.searchsorted(model_input.words, words).tolist():
                names += model_input.pieces[int(model_input.starts[at]) : int(ends[at])]
                sizes.append(int(ends[at] - model_input.starts[at]))
        return names, np.repeat(np.arange(len(sizes)), sizes)

    def check(self, layer: str, owner: Indices | None = None) -> Check:
        """A function that refuses groups of which a number is not finite.

        Args:
            layer: its name, for errors.
            owner: (n_units,) the word of each group; the words themselves by default.
        """

        def refuse(per_unit: NDArray[np.floating]) -> None:
            finite = np.isfinite(per_unit)
            if finite.all():
                return
            group = int(np.flatnonzero(~finite)[0])
            i = group if owner is None else int(owner[group])
            document, position = self.batch[int(self.row[i])].encoded.document, int(self.word[i])
            raise CaptureError(
                f"layer {layer!r}: activation {float(per_unit[group])} in document {document.id!r}, "
                f"word {position} ({document.words[position][:40]!r}); the model's weights are broken, or "
                "its activations overflow"
            )

        return refuse

    def occurrence(self, i: int) -> Occurrence:
        """Word i with the words around it."""
        row, word, chunk = int(self.row[i]), int(self.word[i]), self.chunk
        known = chunk.occurrences.get((row, word))
        if known is None:
            at = int(np.flatnonzero(self.kept)[i]) if chunk.outputs is not None else 0
            known = chunk.occurrences[row, word] = occurrence_of(
                self.batch[row].encoded,
                word,
                output=None if chunk.outputs is None else chunk.outputs[at],
                probability=None if chunk.probability is None else float(chunk.probability[row]),
            )
        return known

    def _by_input(self) -> Iterator[tuple[int, list[int]]]:
        """Each input, and its words."""
        starts = np.flatnonzero(np.diff(self.row, prepend=-1))
        for start, end in zip(starts.tolist(), np.append(starts[1:], len(self.row)).tolist(), strict=True):
            yield int(self.row[start]), self.word[start:end].tolist()


def occurrence_of(
    encoded: EncodedDocument, position: int, *, output: str | None = None, probability: float | None = None
) -> Occurrence:
    """A word with the words around it, cut to a length that can be shown."""
    words = encoded.document.words
    return Occurrence(
        document=encoded.document.id,
        position=position,
        word=_shown(words[position]),
        before=_joined(words[max(0, position - CONTEXT) : position]),
        after=_joined(words[position + 1 : position + 1 + CONTEXT]),
        output=output,
        probability=probability,
        label=encoded.document.labels.get("label"),
    )


def _joined(words: Sequence[str]) -> str:
    # Whoever splits the encoded at its spaces must find these words again: each has an activation of its own.
    return " ".join(_shown(word).replace(" ", "␣") for word in words)


def _shown(word: str) -> str:
    # A megabyte that passes for a word would be kept eight times per neuron.
    return word if len(word) <= _LONGEST else word[: _LONGEST - 1] + "…"
