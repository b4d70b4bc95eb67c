"""Documents as inputs of a model: pieces of words, cut where a document is longer than the model can read."""

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

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class EncodedDocument:
    """A document on its way through the model.

    Attributes:
        document: the words.
        key: stable hash of its id.
        fold_key: stable hash that decides its fold.
        forms: (n_words,) the words as features: lower-cased, as the model sees them.
        readable: words that the model reads, in all inputs of the document together.
        skipped: words that it does not read, by reason.
    """

    document: Document
    key: int
    fold_key: int
    forms: Sequence[str]
    readable: int
    skipped: Counter[str] = field(default_factory=Counter)

    @classmethod
    def whole(cls, document: Document, forms: Sequence[str]) -> EncodedDocument:
        """A document that the model reads word by word, all of it."""
        return cls(document, document_key(document.id), document.fold_key, forms, len(document.words))


@dataclass(frozen=True, eq=False)
class ModelInput:
    """One input of a model: a document, or a part of a long one.

    Attributes:
        encoded: the document it belongs to.
        ids: (n_positions,) input ids, with special positions.
        words: (n,) the words of the document that are counted here, ascending.
        starts: (n,) where the pieces of each of them begin in `steps`.
        steps: (n_pieces,) position in `ids` of each of their pieces.
        pieces: (n_pieces,) what they are called; empty where the model does not say.
    """

    encoded: EncodedDocument
    ids: Sequence[int]
    words: Indices
    starts: Indices
    steps: Indices
    pieces: Sequence[str] = ()

    @classmethod
    def word_by_word(cls, encoded: EncodedDocument, ids: Sequence[int], first: int) -> ModelInput:
        """A whole document of one position per word, the first word at position `first`."""
        words = np.arange(len(encoded.forms))
        return cls(encoded, ids, words, words, words + first)


def inputs(document: Document, pieces: Pieces, model: TextModel) -> tuple[EncodedDocument, list[ModelInput]]:
    """What a document becomes: each readable word is counted in exactly one input.

    Inputs are cut between words. Of two that overlap, the former counts the first half of the words they
    have in common, the latter the others, so that no word is counted at the edge of what the model sees.

    Args:
        document: to be read.
        pieces: of its words.
        model: whose prefix, suffix, limit and overlap are kept to.

    Returns:
        The encoded, which accounts for the words that are in no input, and the inputs: none where no word is readable.
    """
    encoded, words, bounds = _readable(document, pieces, model.max_pieces)
    made = []
    for first, last, counted in _spans(bounds, model.max_pieces, model.overlap):
        begin, end = int(bounds[first, 0]), int(bounds[last, 1])
        starts, steps = _places(bounds[counted], len(model.prefix) - begin)
        made.append(
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
    return encoded, made


def _readable(
    document: Document, pieces: Pieces, room: int | None
) -> tuple[EncodedDocument, Indices, Indices]:
    """The encoded, its readable words, and (n, 2) where the pieces of each begin and end."""
    owner = np.asarray(pieces.word, dtype=np.int64)
    first = np.flatnonzero(np.diff(owner, prepend=-1))
    bounds = np.stack((first, np.append(first[1:], len(owner))[: len(first)]), axis=1)
    words = owner[first]
    skipped: Counter[str] = Counter()
    if len(words) < len(document.words):
        skipped[UNKNOWN_WORD] = len(document.words) - len(words)
    if room is not None:
        fits = bounds[:, 1] - bounds[:, 0] <= room
        if not fits.all():
            skipped[LONG_WORD] = int((~fits).sum())
            words, bounds = words[fits], bounds[fits]
    forms = [word.lower() for word in document.words]
    return (
        EncodedDocument(document, document_key(document.id), document.fold_key, forms, len(words), skipped),
        words,
        bounds,
    )


def _spans(bounds: Indices, room: int | None, overlap: int) -> Iterator[tuple[int, int, slice]]:
    """First and last word of each input, and the words it counts."""
    n = len(bounds)
    first = counted = 0
    while counted < n:
        last = _last_inside(bounds, first, room)
        following = last + 1
        if following < n and bounds[following, 0] == bounds[last, 1]:
            while following - 1 > first and bounds[last, 1] - bounds[following - 1, 0] <= overlap:
                following -= 1
        shared = last + 1 - following
        end = last + 1 - shared // 2
        if end > counted:
            yield first, last, slice(counted, end)
        first, counted = following, end


def _last_inside(bounds: Indices, first: int, room: int | None) -> int:
    """The last word of an input that begins with word `first`; a word that was left out ends it, too."""
    gaps = np.flatnonzero(bounds[first + 1 :, 0] != bounds[first:-1, 1])
    last = first + int(gaps[0]) if len(gaps) else len(bounds) - 1
    if room is not None:
        last = min(last, int(np.searchsorted(bounds[:, 1], bounds[first, 0] + room, side="right")) - 1)
    return last


def _places(bounds: Indices, offset: int) -> tuple[Indices, Indices]:
    """Where each word's pieces begin among all pieces, and the position of each piece in the input."""
    sizes = bounds[:, 1] - bounds[:, 0]
    starts = np.cumsum(sizes) - sizes
    steps = np.repeat(bounds[:, 0] - starts, sizes) + np.arange(int(sizes.sum())) + offset
    return starts, steps
