"""Stored tokens: the marks of pieces, and the words that pieces make."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np

from txray.activations.folding import text_key
from txray.activations.stored import StoredInput, StoredLayer, StoredText
from txray.corpus.document import Document
from txray.errors import CaptureError, CorpusError

SPACE, CONTINUED, SENTENCE_PIECE, END = "Ġ", "##", "▁", "</w>"
"""Marks of pieces: a space in byte-level BPE, a continued word in WordPiece, a space in SentencePiece, and the end of a
word in BPE."""

SPECIAL = re.compile(r"\[[A-Za-z_]+[0-9]*\]|<\|?[A-Za-z_/][^<>\s]*>")
"""Tokens that may stand for no text, such as `[CLS]`, `</s>` and `<|endoftext|>`."""


def without_mark(token: str) -> str:
    """Return a token without the mark that says where its word begins or ends."""
    for mark in (CONTINUED, SENTENCE_PIECE, SPACE):
        token = token.removeprefix(mark)
    return token.removesuffix(END)


def joined(tokens: Sequence[str]) -> tuple[str, ...]:
    """Return the words that marked pieces make, without special tokens; the tokens themselves if none has a mark.

    >>> joined(["[CLS]", "un", "##like", "##ly", "[SEP]"]), joined(["It", "is"])
    (('unlikely',), ('It', 'is'))
    """
    if any(token.startswith(CONTINUED) and token != CONTINUED for token in tokens):
        parts = [(not token.startswith(CONTINUED), token.removeprefix(CONTINUED)) for token in tokens]
    elif any(token.endswith(END) for token in tokens):
        ends = [True, *(token.endswith(END) for token in tokens)]
        parts = list(zip(ends, (token.removesuffix(END) for token in tokens), strict=False))
    elif mark := next(
        (mark for mark in (SPACE, SENTENCE_PIECE) if any(t.startswith(mark) for t in tokens)), None
    ):
        parts = [(token.startswith(mark), token.removeprefix(mark)) for token in tokens]
        if mark == SPACE:
            parts = [(begins, bytes_of(token).decode(errors="replace")) for begins, token in _whole(parts)]
    else:
        return tuple(token for token in tokens if token.strip())
    words: list[str] = []
    open_word = False
    for begins, part in parts:
        if SPECIAL.fullmatch(part):
            open_word = False
        elif begins or not open_word:
            words.append(part)
            open_word = True
        else:
            words[-1] += part
    return tuple(word for word in words if word.strip())


def unmarked(documents: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return words without the marks of the pieces that they were joined from, such as `want##ed` or `Ġfilm`.

    >>> unmarked([["want##ed", "it"], ["#"]])
    [['wanted', 'it'], ['#']]
    """
    tokens = {token for document in documents for token in document}
    if any(CONTINUED in token[1:] for token in tokens):
        cleaned = {token: token[:1] + token[1:].replace(CONTINUED, "") for token in tokens}
    elif any(token.startswith(SPACE) for token in tokens):
        known = _byte_of_letter().keys()
        cleaned = {
            token: bytes_of(token).decode(errors="replace").strip() if known >= set(token) else token
            for token in tokens
        }
    elif any(token.startswith(SENTENCE_PIECE) for token in tokens):
        cleaned = {token: token.replace(SENTENCE_PIECE, "") for token in tokens}
    else:
        return [list(document) for document in documents]
    return [[cleaned[token] for token in document] for document in documents]


def _whole(parts: Iterable[tuple[bool, str]]) -> list[tuple[bool, str]]:
    """Return pieces joined to words, because a letter may be divided between pieces."""
    words: list[tuple[bool, str]] = []
    for begins, part in parts:
        if begins or not words or SPECIAL.fullmatch(part) or SPECIAL.fullmatch(words[-1][1]):
            words.append((True, part))
        else:
            words[-1] = True, words[-1][1] + part
    return words


def bytes_of(token: str) -> bytes:
    """Return the bytes that a token of byte-level BPE stands for; `?` for letters that stand for none."""
    table = _byte_of_letter()
    return bytes(table.get(letter, ord("?")) for letter in token)


@cache
def _byte_of_letter() -> dict[str, int]:
    """Return the byte that each letter of byte-level BPE stands for."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


class TokenFiles:
    """Base class of formats that store tokens, and one row per token in the order of the documents.

    Subclasses define `rows` and `digest`; see `ActivationFiles`.
    """

    padded: bool = True
    chunk_steps: int | None = None
    model: Mapping[str, Any] = MappingProxyType({})

    def __init__(
        self,
        location: str,
        file_format: str,
        layers: Iterable[StoredLayer],
        documents: Sequence[tuple[str | None, Sequence[str]]],
        pooling: str,
    ) -> None:
        """Describe the documents: the id of each, if it has one, and its tokens.

        Raises:
            CaptureError: there is no layer or document, or a document without tokens.
        """
        self.location = location
        self.format = file_format
        self.layers: Mapping[str, StoredLayer] = {layer.name: layer for layer in layers}
        self.settings: Mapping[str, Any] = {"pooling": pooling}
        self.pooling = pooling
        self.n_documents = len(documents)
        self.has_ids = all(name is not None for name, _ in documents)
        self._tokens = [tuple(tokens) for _, tokens in documents]
        self._ids = [name or f"{number:06d}" for number, (name, _) in enumerate(documents)]
        if not self.layers or not documents:
            raise CaptureError(f"{location}: holds no {'documents' if self.layers else 'layers'}")
        self.starts = np.append(0, np.cumsum([len(tokens) for tokens in self._tokens])).astype(np.int64)
        for number, tokens in enumerate(self._tokens):
            wrong = [token for token in tokens if not isinstance(token, str)]
            if wrong or not tokens:
                what = f"has the token {wrong[0]!r}, which is no text" if wrong else "has no tokens"
                raise CaptureError(f"{location}: document {self._ids[number]!r} {what}; correct the file")

    def document_at(self, row: int) -> tuple[int, int]:
        """Return the document that a row belongs to, and the row of its first token."""
        number = int(np.searchsorted(self.starts, row, side="right")) - 1
        return number, int(self.starts[number])

    def n_tokens(self, number: int) -> int:
        """Return the number of tokens of a document."""
        return len(self._tokens[number])

    def identities(self) -> Iterator[tuple[str, int]]:
        """Yield the id of each document and the hash of its text."""
        for name, tokens in zip(self._ids, self._tokens, strict=True):
            yield name, text_key(joined(tokens))

    def text(self, number: int) -> StoredText:
        """Return a stored document; its words are its tokens, or the words that marked pieces make."""
        tokens, start = self._tokens[number], int(self.starts[number])
        try:
            document = Document(self._ids[number], joined(tokens))
        except CorpusError as error:
            raise CaptureError(f"{self.location}: {error}") from error
        n = len(tokens)
        stored = StoredInput(np.arange(start, start + n), tokens, None, np.arange(n), n)
        return StoredText(document, [stored])
