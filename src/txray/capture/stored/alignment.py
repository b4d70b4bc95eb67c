"""Assign stored tokens, which may be pieces of words, to the words of a document."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np

from txray.activations.folding import folded
from txray.activations.tokens import SPACE, SPECIAL, bytes_of, without_mark
from txray.capture.text.encoding import Indices
from txray.errors import CaptureError
from txray.models.piece_alignment import NO_WORD, words_of_pieces

_UNKNOWN = ("[UNK]", "<unk>", "<UNK>")
"""Tokens that stand for the rest of a word."""


def words_of_tokens(
    words: Sequence[str], tokens: Sequence[str], document: str, *, cut: bool = False
) -> Indices:
    """Return (n_tokens,) the word of each token, never decreasing, or -1 for special tokens.

    Tokens are words, or pieces of words as the tokenizers of BERT, GPT-2 or SentencePiece write them. Case, accents and
    white space may differ. Words after the last token have none.

    >>> words_of_tokens(["Unlikely", "ends"], ["[CLS]", "un", "##like", "##ly", "ends", "[SEP]"], "d").tolist()
    [-1, 0, 0, 0, 1, -1]

    Args:
        words: words of the document.
        tokens: its tokens.
        document: id of the document, for errors.
        cut: whether the document may be the beginning of the one that the tokens belong to.

    Raises:
        CaptureError: a token is not what the document holds there.
    """
    if tuple(tokens) == tuple(words):
        return np.arange(len(words))
    if any(token.startswith(SPACE) for token in tokens):
        texts = ["".join(map(chr, word.encode())) for word in words]
        with suppress(CaptureError):
            return _aligned(words, texts, tokens, _spelled_bytes, document, cut)
    return _aligned(words, list(map(folded, words)), tokens, folded, document, cut)


def _aligned(
    words: Sequence[str],
    texts: Sequence[str],
    tokens: Sequence[str],
    spell: Callable[[str], str],
    document: str,
    cut: bool,
) -> Indices:
    """Return the word of each token, given the words as they are compared."""
    text = "".join(texts)
    ends = np.cumsum([len(word) for word in texts])
    bounds = np.stack((ends - [len(word) for word in texts], ends), axis=1)
    spans = np.zeros((len(tokens), 2), np.int64)
    position = 0
    for number, token in enumerate(tokens):
        spans[number] = position
        written, stripped = folded(token), spell(without_mark(token))
        match = next((form for form in (stripped, written) if form and text.startswith(form, position)), None)
        if match is not None:
            position += len(match)
        elif position < len(text) and token in _UNKNOWN:
            position = int(ends[np.searchsorted(ends, position, side="right")])
        elif stripped and not SPECIAL.fullmatch(token):
            if position >= len(text) and cut:
                break
            word = int(np.searchsorted(ends, position, side="right"))
            expected = f"{words[word][:40]!r}" if word < len(words) else "its end"
            raise CaptureError(
                f"document {document!r}: stored token {number} is {token[:40]!r}, but the text has {expected} at word "
                f"{word}; pass the text whose activations were stored, such as StoredActivations.corpus()"
            )
        spans[number, 1] = position
    spans[spans[:, 1] < spans[:, 0], 1] = position
    if not len(words):
        return np.full(len(tokens), NO_WORD)
    return words_of_pieces(spans, bounds)


def _spelled_bytes(token: str) -> str:
    """Return the bytes that a token of byte-level BPE stands for, as characters, without white space."""
    return "".join(chr(byte) for byte in bytes_of(token) if byte not in b" \n\t\r")
