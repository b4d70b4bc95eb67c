"""Encode texts as pieces by a tokenizer of transformers, and find the special ids around a text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from txray._optional import import_extra
from txray.corpus.document import Document
from txray.errors import SnapshotError, UsageError, in_one_line
from txray.identity import identity_of
from txray.models.piece_alignment import NO_WORD, is_covered, words_of_pieces
from txray.models.text_model import Pieces

AS_WRITTEN = "as written"
JOINED = "words joined by spaces"
WORD_BY_WORD = "word by word"
"""How a text was read, for the manifest."""

_ENGLISH = Document("", ("I", "wanted", "to", "like", "this"))
_SPACE_MARK = "\u2581"
"""Written by SentencePiece for a space."""
_LONGEST_GAP = 32
"""Number of spaces in the longest piece of white space to expect."""
_N_KNOWN = 32
"""Number of ordinary pieces for dry runs."""


class _Tokenized(NamedTuple):
    """The pieces of a text: their ids, (n_pieces, 2) first and last character, names, and how the text was read."""

    ids: list[int]
    offsets: NDArray[np.int64]
    names: list[str]
    read_as: str


class PieceEncoder:
    """Encodes documents as the tokenizer of a model cuts their text as written, and assigns the pieces to words.

    A piece belongs to the word that holds most of its characters, the first of several such words; a piece of white
    space belongs to no word.
    """

    def __init__(self, tokenizer: Any) -> None:
        """Encode by `tokenizer`, see `require_pieces`."""
        self._tokenizer = tokenizer
        self._unknown = tokenizer.unk_token_id
        self._special = frozenset(tokenizer.all_special_ids) - {self._unknown}
        longest = _LONGEST_GAP if tokenizer.is_fast else 1
        marks = tokenizer.convert_tokens_to_ids([_SPACE_MARK * n for n in range(1, longest + 1)])
        self._spaces = frozenset(marks) - {None, self._unknown}

    @property
    def fingerprint(self) -> str:
        """Return a fingerprint of the tokenizer, without its settings for truncation and padding."""
        return identity_of(
            type(self._tokenizer), _rules(self._tokenizer), "text", self._unknown, self._special
        )

    def __call__(self, document: Document) -> Pieces:
        """Return the pieces of a document, without special ones."""
        ids, offsets, names, read_as = self._tokenized(document)
        if not self._special.isdisjoint(ids):  # some tokenizers produce special tokens for ordinary text
            ordinary = [number for number, piece in enumerate(ids) if piece not in self._special]
            ids, names = [ids[number] for number in ordinary], [names[number] for number in ordinary]
            offsets = offsets[ordinary]
        bounds = document.offsets
        word = words_of_pieces(offsets, bounds)
        if not self._spaces.isdisjoint(ids):
            self._release_spaces(word, ids, offsets, document.text)
        known = word != NO_WORD
        if self._unknown in ids:
            known &= np.array(ids) != self._unknown
        has_piece = np.zeros(len(bounds), bool)
        has_piece[word[known]] = True
        shared = 0
        if not has_piece.all():
            shared = int((~has_piece & is_covered(offsets[known], bounds)).sum())
            word[(word != NO_WORD) & ~has_piece[word]] = NO_WORD
        return Pieces(ids, word, names, shared, read_as)

    def known_ids(self) -> list[int]:
        """Return the ids of a few ordinary pieces: the lowest ones, which every model has, or some of English."""
        if not self._tokenizer.is_fast:
            return list(self(_ENGLISH).ids)
        return [number for number, _ in islice(_ordinary(self._tokenizer), _N_KNOWN)]

    def _tokenized(self, document: Document) -> _Tokenized:
        read_as = JOINED if document.spacing is None else AS_WRITTEN
        if not self._tokenizer.is_fast:
            return self._slowly(document, read_as)
        # Words that look like special tokens are text, such as "[SEP]" in a review.
        backend = self._tokenizer.backend_tokenizer
        backend.encode_special_tokens = True
        backend.no_truncation()
        backend.no_padding()
        encoded = backend.encode(document.text, add_special_tokens=False)
        ids = encoded.ids
        flat = np.fromiter(chain.from_iterable(encoded.offsets), np.int64, 2 * len(ids))
        return _Tokenized(ids, flat.reshape(-1, 2), encoded.tokens, read_as)

    def _slowly(self, document: Document, read_as: str) -> _Tokenized:
        """Return the pieces of a tokenizer that does not say where they are: characters, bytes, or word by word."""
        text = document.text
        names = self._names(text)
        sizes = np.ones(len(text), np.int64)
        if names != list(text):
            raw = text.encode()
            if names == list(map(chr, raw)):
                sizes = np.array([len(character.encode()) for character in text])
            else:
                return self._word_by_word(document)
        begin = np.repeat(np.arange(len(text)), sizes)
        return _Tokenized(self._ids(names), np.stack((begin, begin + 1), axis=1), names, read_as)

    def _word_by_word(self, document: Document) -> _Tokenized:
        text, bounds = document.text, document.offsets
        previous = np.append(0, bounds[:-1, 1])
        names = [
            self._names(text[begin:end])
            for begin, end in zip(previous.tolist(), bounds[:, 1].tolist(), strict=True)
        ]
        offsets = np.repeat(bounds, list(map(len, names)), axis=0)
        flat = list(chain.from_iterable(names))
        return _Tokenized(self._ids(flat), offsets, flat, WORD_BY_WORD)

    def _names(self, text: str) -> list[str]:
        return list(self._tokenizer.tokenize(text, split_special_tokens=True))

    def _ids(self, names: list[str]) -> list[int]:
        return list(self._tokenizer.convert_tokens_to_ids(names))

    def _release_spaces(
        self, word: NDArray[np.int64], ids: Sequence[int], offsets: NDArray[np.int64], text: str
    ) -> None:
        """Take pieces that stand for a space only away from words; the mark before a text claims its first letter."""
        for number in np.flatnonzero(np.isin(ids, list(self._spaces)) & (word != NO_WORD)):
            begin, end = offsets[number].tolist()
            if _SPACE_MARK not in text[begin:end]:
                word[number] = NO_WORD


def require_pieces(tokenizer: Any, name: str | Path) -> None:
    """Raise if a tokenizer cannot cut a text into pieces.

    Raises:
        UsageError: the tokenizer is not a fast one, and cannot cut a text without knowing its language or task.
        SnapshotError: the tokenizer knows no words.
    """
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise SnapshotError(f"{name}: its tokenizer knows no words; use a folder with its tokenizer.json")
    if tokenizer.is_fast:
        return
    try:
        ids = PieceEncoder(tokenizer)(_ENGLISH).ids
    # A tokenizer of transformers may raise anything.
    except Exception as error:
        raise UsageError(
            f"{name}: {type(tokenizer).__name__} is not a fast tokenizer and cannot cut an English text "
            f"({in_one_line(error)}); convert it to a tokenizer.json"
        ) from error
    if not ids:
        raise SnapshotError(f"{name}: its tokenizer knows no words; use a folder with its tokenizer.json")


def special_ids(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the ids that the tokenizer puts before and after a text."""
    if not tokenizer.is_fast:
        ids = tokenizer.build_inputs_with_special_tokens([-1])
        index = ids.index(-1)
        return tuple(ids[:index]), tuple(ids[index + 1 :])
    tokenizers = import_extra("Hugging Face models need", "hf", "tokenizers")
    backend = tokenizer.backend_tokenizer
    if backend.post_processor is None:
        return (), ()
    # Apply the same post-processing to a text of one piece whose id differs from all special ids.
    text = backend.get_vocab_size(with_added_tokens=True) + 1
    while text in set(tokenizer.all_special_ids):
        text += 1
    framing = tokenizers.Tokenizer(tokenizers.models.WordLevel({"x": text}, unk_token="x"))
    framing.post_processor = backend.post_processor
    ids = framing.encode("x").ids
    index = ids.index(text)
    return tuple(ids[:index]), tuple(ids[index + 1 :])


def _ordinary(tokenizer: Any) -> Iterator[tuple[int, str]]:
    """Yield the ordinary ids and pieces of the vocabulary, by id."""
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    for piece, number in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]):
        if number not in special:
            yield number, piece


def _rules(tokenizer: Any) -> object:
    """Return everything that decides the pieces."""
    if tokenizer.is_fast:
        rules = json.loads(tokenizer.backend_tokenizer.to_str())
        return {key: value for key, value in rules.items() if key not in ("truncation", "padding")}
    with TemporaryDirectory(prefix="txray-tokenizer-") as folder:
        tokenizer.save_vocabulary(folder)
        files = sorted(Path(folder).iterdir())
        added = sorted((number, str(token)) for number, token in tokenizer.added_tokens_decoder.items())
        return [(file.name, file.read_bytes()) for file in files], added
