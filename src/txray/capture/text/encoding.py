"""Encode documents as inputs of a model, cut into several where a document is longer than the model can read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from txray.corpus.document import Document
from txray.models.text_model import Pieces, TextModel
from txray.preferences import document_key

UNKNOWN_WORD = "unknown to the tokenizer"
LONG_WORD = "longer than the model can read"
SHARED_PIECE = "shares its piece with another word"

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class EncodedDocument:
    """A document as the model reads it.

    Attributes:
        document: the document.
        key: stable hash of its id.
        fold_key: stable hash that determines its fold.
        forms: (n_words,) the words as features: lower-cased, as the model sees them.
        readable: number of words that the model reads, in all inputs of the document together.
        skipped: number of words that it does not read, by reason.
        read_as: how the text was read, see `Pieces`.
    """

    document: Document
    key: int
    fold_key: int
    forms: Sequence[str]
    readable: int
    skipped: Counter[str] = field(default_factory=Counter)
    read_as: str = ""


@dataclass(frozen=True, eq=False)
class ModelInput:
    """One input of a model: a document, or a part of a long one.

    Attributes:
        encoded: the document that the input belongs to.
        ids: (n_positions,) input ids, special positions included.
        words: (n,) positions in the document of the words that are counted in this input, ascending.
        starts: (n,) index in `steps` of the first piece of each of these words.
        steps: (n_pieces,) position in `ids` of each piece.
        pieces: (n_pieces,) names of the pieces; empty if the model provides none.
    """

    encoded: EncodedDocument
    ids: Sequence[int]
    words: Indices
    starts: Indices
    steps: Indices
    pieces: Sequence[str] = ()

    @classmethod
    def word_by_word(
        cls, document: Document, forms: Sequence[str], ids: Sequence[int], first: int
    ) -> ModelInput:
        """Return a whole document with one position per word, the first word at position `first`."""
        words = np.arange(len(forms))
        key = document_key(document.id)
        encoded = EncodedDocument(document, key, document.fold_key, forms, len(document.words))
        return cls(encoded, ids, words, words, words + first)


def inputs(document: Document, pieces: Pieces, model: TextModel) -> tuple[EncodedDocument, list[ModelInput]]:
    """Return a document as inputs of a model (none if no word is readable); each word is counted in exactly one input.

    Inputs are cut between words. If two inputs overlap, the first counts the first half of the shared words and the
    second the other half, so that no word is counted at the edge of what the model sees.

    Args:
        document: the document.
        pieces: pieces of its words.
        model: provides prefix, suffix, maximum length and overlap.
    """
    encoded, words, bounds, reach = _readable(document, pieces, model.max_pieces)
    model_inputs = []
    for first, last, counted in _spans(reach, model.max_pieces, model.overlap):
        begin, end = int(reach[first, 0]), int(reach[last, 1])
        starts, steps = _piece_positions(bounds[counted], len(model.prefix) - begin)
        model_inputs.append(
            ModelInput(
                encoded,
                [*model.prefix, *pieces.ids[begin:end], *model.suffix],
                words[counted],
                starts,
                steps,
                [pieces.texts[step - len(model.prefix) + begin] for step in steps]
                if len(pieces.texts)
                else (),
            )
        )
    return encoded, model_inputs


def _readable(
    document: Document, pieces: Pieces, max_pieces: int | None
) -> tuple[EncodedDocument, Indices, Indices, Indices]:
    """Return the encoded document, its readable words, and (n, 2) begin and end of the pieces of each word.

    The last result is the same with the pieces before each word that belong to no word: all that an input must hold.
    """
    word_of_piece = np.asarray(pieces.word, dtype=np.int64)
    positions = np.flatnonzero(word_of_piece >= 0)
    first = np.flatnonzero(np.diff(word_of_piece[positions], prepend=-1))
    ends = positions[np.append(first[1:], len(positions))[: len(first)] - 1] + 1
    bounds = np.stack((positions[first], ends), axis=1)
    words = word_of_piece[positions[first]]
    reach = np.stack((np.append(0, ends)[: len(ends)], ends), axis=1)
    reach[-1:, 1] = len(word_of_piece)
    skipped: Counter[str] = Counter()
    if pieces.shared:
        skipped[SHARED_PIECE] = pieces.shared
    if len(words) + pieces.shared < len(document.words):
        skipped[UNKNOWN_WORD] = len(document.words) - len(words) - pieces.shared
    if max_pieces is not None:
        fits = bounds[:, 1] - bounds[:, 0] <= max_pieces
        if not fits.all():
            skipped[LONG_WORD] = int((~fits).sum())
            words, bounds, reach = words[fits], bounds[fits], reach[fits]
        # More than an input can hold, such as a thousand blank lines before a word, is cut away from the word.
        reach[:, 0] = np.maximum(reach[:, 0], bounds[:, 1] - max_pieces)
        reach[:, 1] = np.minimum(reach[:, 1], reach[:, 0] + max_pieces)
    forms = [word.lower() for word in document.words]
    return (
        EncodedDocument(
            document, document_key(document.id), document.fold_key, forms, len(words), skipped, pieces.read_as
        ),
        words,
        bounds,
        reach,
    )


def _spans(bounds: Indices, max_pieces: int | None, overlap: int) -> Iterator[tuple[int, int, slice]]:
    """Yield the first and last word of each input, and the slice of words that it counts."""
    n = len(bounds)
    first = counted = 0
    while counted < n:
        last = _last_inside(bounds, first, max_pieces)
        following = last + 1
        if following < n and bounds[following, 0] == bounds[last, 1]:
            while following - 1 > first and bounds[last, 1] - bounds[following - 1, 0] <= overlap:
                following -= 1
        shared = last + 1 - following
        end = last + 1 - shared // 2
        if end > counted:
            yield first, last, slice(counted, end)
        first, counted = following, end


def _last_inside(bounds: Indices, first: int, max_pieces: int | None) -> int:
    """Return the last word of an input that begins with word `first`; an unreadable word ends the input as well."""
    gaps = np.flatnonzero(bounds[first + 1 :, 0] != bounds[first:-1, 1])
    last = first + int(gaps[0]) if len(gaps) else len(bounds) - 1
    if max_pieces is not None:
        last = min(last, int(np.searchsorted(bounds[:, 1], bounds[first, 0] + max_pieces, side="right")) - 1)
    return last


def _piece_positions(bounds: Indices, offset: int) -> tuple[Indices, Indices]:
    """Return the index of each word's first piece, and the position of each piece in the input."""
    sizes = bounds[:, 1] - bounds[:, 0]
    starts = np.cumsum(sizes) - sizes
    steps = np.repeat(bounds[:, 0] - starts, sizes) + np.arange(int(sizes.sum())) + offset
    return starts, steps
