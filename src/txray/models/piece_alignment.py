"""Assign the pieces of a text to its words by their characters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NO_WORD = -1

Spans = NDArray[np.int64]
"""(n, 2) where pieces or words begin and end in a text, in characters."""


def words_of_pieces(pieces: Spans, words: Spans) -> NDArray[np.int64]:
    """Return (n_pieces,) the word of each piece, never decreasing, or -1 for pieces that hold no character of a word.

    A piece with characters of several words belongs to the word with most of them, the first of several such words.

    >>> words = np.array([[0, 2], [2, 6], [7, 9]])  # "It", "late", "ok" in "Itlate ok"
    >>> words_of_pieces(np.array([[0, 4], [4, 6], [6, 7], [7, 9]]), words).tolist()
    [0, 1, -1, 2]

    Args:
        pieces: in the order of the text; two may share a character whose bytes they divide.
        words: ascending, without overlap.
    """
    first, last = _covered(pieces, words)
    word = np.where(first <= last, first, NO_WORD)
    overlap = _overlap(pieces, words[np.minimum(first, len(words) - 1)])
    (several,) = np.nonzero(first < last)
    for following in range(1, int((last - first).max(initial=0)) + 1):
        several = several[first[several] + following <= last[several]]
        other = first[several] + following
        overlap_of_other = _overlap(pieces[several], words[other])
        more = overlap_of_other > overlap[several]
        word[several[more]], overlap[several[more]] = other[more], overlap_of_other[more]
    word[overlap <= 0] = NO_WORD
    # Only a normalizer that reorders characters could make the words decrease.
    return np.where(word == NO_WORD, NO_WORD, np.maximum.accumulate(word))


def is_covered(pieces: Spans, words: Spans) -> NDArray[np.bool_]:
    """Return (n_words,) whether a piece holds a character of the word."""
    first, last = _covered(pieces, words)
    holds = (first <= last) & (pieces[:, 0] < pieces[:, 1])
    change = np.zeros(len(words) + 1, np.int64)
    np.add.at(change, first[holds], 1)
    np.add.at(change, last[holds] + 1, -1)
    return (np.cumsum(change)[:-1] > 0) & (words[:, 1] > words[:, 0])


def _covered(pieces: Spans, words: Spans) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first and the last word of which each piece may hold characters; first > last if there is none."""
    first = np.searchsorted(words[:, 1], pieces[:, 0], side="right")
    return first, np.searchsorted(words[:, 0], pieces[:, 1], side="left") - 1


def _overlap(pieces: Spans, words: Spans) -> NDArray[np.int64]:
    """Return the number of characters that pieces and words share; negative if they are apart."""
    overlap: NDArray[np.int64] = np.minimum(pieces[..., 1], words[:, 1]) - np.maximum(
        pieces[..., 0], words[:, 0]
    )
    return overlap
