"""The words of a chunk of activations: their features, pieces and contexts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, pairwise

import numpy as np
from numpy.typing import NDArray

from txray.capture.text.encoding import EncodedDocument, Indices
from txray.capture.text.features import features_of
from txray.capture.text.forward_chunk import ForwardChunk
from txray.errors import CaptureError
from txray.preferences import Occurrence
from txray.preferences.exemplars import CONTEXT
from txray.preferences.output_tokens import OUTPUT

_LONGEST = 200
"""Maximum number of characters of a word in an exemplar."""


@dataclass(frozen=True, eq=False)
class ChunkWords:
    """The words of a chunk, or some of them.

    Attributes:
        chunk: the chunk.
        index: (n,) index of each word in the chunk.
        row: (n,) input of each word.
        word: (n,) position of each word in its document.
        key: (n,) hash of the document's id.
        fold: (n,) fold of the document.
    """

    chunk: ForwardChunk
    index: Indices
    row: Indices
    word: Indices
    key: Indices
    fold: Indices

    @classmethod
    def of(cls, chunk: ForwardChunk, folds: int) -> ChunkWords:
        """Return all words of a chunk."""
        row = chunk.row
        key = np.array([model_input.encoded.key for model_input in chunk.batch], dtype=np.int64)
        fold_key = np.array([model_input.encoded.fold_key for model_input in chunk.batch], dtype=np.int64)
        return cls(chunk, np.arange(len(row)), row, chunk.word, key[row], fold_key[row] % folds)

    def where(self, mask: NDArray[np.bool_]) -> ChunkWords:
        """Return the words for which the (n,) mask is True."""
        columns = (self.index, self.row, self.word, self.key, self.fold)
        return ChunkWords(self.chunk, *(column[mask] for column in columns))

    def __len__(self) -> int:
        return len(self.row)

    def features(self, feature_type: str) -> list[str]:
        """Return (n,) the feature of each word."""
        if feature_type == OUTPUT:
            outputs = self.chunk.outputs or []
            return [outputs[i] for i in self.index.tolist()]
        names: list[str] = []
        for row, words in self._by_input():
            features = features_of(feature_type, self.chunk.batch[row].encoded)
            # The words are mostly consecutive: slice them at once.
            if words[-1] - words[0] == len(words) - 1:
                names += features[words[0] : words[-1] + 1]
            else:
                names += [features[word] for word in words]
        return names

    def pieces(self, mask: NDArray[np.bool_] | None = None) -> tuple[list[str], Indices]:
        """Return (n_pieces,) names of the pieces of the words, and (n_pieces,) the word of each piece.

        With a mask over all pieces, only those for which it is True.
        """
        names: list[str] = []
        sizes: list[int] = []
        for row, words in self._by_input():
            model_input = self.chunk.batch[row]
            if not model_input.pieces:
                raise CaptureError(
                    f"document {model_input.encoded.document.id!r}: the model's encoding does not name its pieces; "
                    "omit the feature type 'subword'"
                )
            ends = np.append(model_input.starts[1:], len(model_input.steps))
            for index in np.searchsorted(model_input.words, words).tolist():
                names += model_input.pieces[int(model_input.starts[index]) : int(ends[index])]
                sizes.append(int(ends[index] - model_input.starts[index]))
        word_of_piece = np.repeat(np.arange(len(sizes)), sizes)
        if mask is None or mask.all():
            return names, word_of_piece
        return list(compress(names, mask)), word_of_piece[mask]

    def require_finite(self, layer: str, sums: NDArray[np.floating], word_of_sum: Indices) -> None:
        """Raise if a sum of activations is not finite.

        Args:
            layer: name of the layer, for errors.
            sums: (n_sums,) sums of the activations of words or pieces.
            word_of_sum: (n_sums,) word of each.

        Raises:
            CaptureError: the message names the word.
        """
        broken = np.flatnonzero(~np.isfinite(sums))
        if len(broken):
            i = int(word_of_sum[broken[0]])
            document, position = self.chunk.batch[int(self.row[i])].encoded.document, int(self.word[i])
            raise CaptureError(
                f"layer {layer!r}: activation {float(sums[broken[0]])} in document {document.id!r}, "
                f"word {position} ({document.words[position][:40]!r}); the model's weights are broken, or "
                "its activations overflow"
            )

    def occurrence(self, i: int) -> Occurrence:
        """Return word `i` with the words around it."""
        row, word, chunk = int(self.row[i]), int(self.word[i]), self.chunk
        occurrence = chunk.occurrences.get((row, word))
        if occurrence is None:
            occurrence = chunk.occurrences[row, word] = occurrence_of(
                chunk.batch[row].encoded,
                word,
                output=None if chunk.outputs is None else chunk.outputs[int(self.index[i])],
                probability=None if chunk.probability is None else float(chunk.probability[row]),
            )
        return occurrence

    def _by_input(self) -> Iterator[tuple[int, list[int]]]:
        """Yield each input with its words."""
        starts = np.flatnonzero(np.diff(self.row, prepend=-1)).tolist()
        for start, end in pairwise([*starts, len(self.row)]):
            yield int(self.row[start]), self.word[start:end].tolist()


def occurrence_of(
    encoded: EncodedDocument, position: int, *, output: str | None = None, probability: float | None = None
) -> Occurrence:
    """Return a word with the words around it; long words are shortened."""
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
    # Splitting the context at spaces must recover these words, because each has its own activation.
    return " ".join(_shown(word).replace(" ", "␣") for word in words)


def _shown(word: str) -> str:
    # A word of a megabyte would be stored with every exemplar.
    return word if len(word) <= _LONGEST else word[: _LONGEST - 1] + "…"
