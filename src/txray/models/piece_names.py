"""Names of the ids that a language model predicts, as they would continue a text."""

from __future__ import annotations

from typing import Any

from txray.identity import identity_of

CONTINUES = "##"
"""Precedes the name of a piece that continues a word."""

_REPLACEMENT = "\ufffd"
"""Stands for bytes that are no whole character."""


class PieceNames:
    """Names the ids of a tokenizer by the text that they add to a text before them.

    A piece that begins a word is named by its text, such as `film`, like the word itself; one that continues a word by
    its text after `##`, such as `##ing`. Punctuation has no mark. Case is kept. A piece without visible text of its
    own, such as white space, part of a character or a special token, has the name that the tokenizer gives it.
    """

    def __init__(self, tokenizer: Any) -> None:
        """Name the ids of a tokenizer of transformers."""
        self._tokenizer = tokenizer
        self._pieces: dict[int, str] | None = None
        self._special = frozenset(tokenizer.all_special_ids)
        self._before: tuple[int, str] | None = None
        self._names: dict[int, str | None] = {}

    @property
    def fingerprint(self) -> str:
        """Return a fingerprint of the rules; the tokenizer is that of the encoding."""
        return identity_of(type(self._tokenizer), "names of pieces")

    def __call__(self, number: int) -> str | None:
        """Return the name of an id; None if the tokenizer has no such id."""
        if number not in self._names:
            self._names[number] = self._name(number)
        return self._names[number]

    def _name(self, number: int) -> str | None:
        piece = self._known.get(number)
        if piece is None or number in self._special:
            return piece
        first, before = self._anchor
        both = self._decoded([first, number])
        if not both.startswith(before):
            return piece
        added = both[len(before) :]
        text = added.strip()
        if not text or not text.isprintable() or _REPLACEMENT in text:
            return piece
        return text if added[0].isspace() or not text[0].isalnum() else CONTINUES + text

    @property
    def _known(self) -> dict[int, str]:
        """Return id -> piece, for all ids that the tokenizer has."""
        if self._pieces is None:
            try:
                self._pieces = {number: piece for piece, number in self._tokenizer.get_vocab().items()}
            except NotImplementedError:  # a tokenizer of characters
                size = len(self._tokenizer)
                pieces = self._tokenizer.convert_ids_to_tokens(range(size))
                self._pieces = {number: str(piece) for number, piece in enumerate(pieces)}
        return self._pieces

    @property
    def _anchor(self) -> tuple[int, str]:
        """Return an ordinary piece of letters and its text, before which others are decoded."""
        if self._before is None:
            texts = (
                (number, self._decoded([number]))
                for number in sorted(self._known)
                if number not in self._special
            )
            self._before = next(
                ((n, text) for n, text in texts if text.isascii() and text.isalpha()), (-1, "")
            )
        return self._before

    def _decoded(self, numbers: list[int]) -> str:
        ids = [number for number in numbers if number >= 0]
        return str(self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))
