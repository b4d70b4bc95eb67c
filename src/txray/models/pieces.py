"""Encode words as pieces by a fast tokenizer of transformers, and find the special ids around a text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from txray._optional import import_extra
from txray.errors import SnapshotError, UsageError
from txray.identity import identity_of
from txray.models.text_model import Pieces

_ENGLISH = ("I", "wanted", "to", "like", "this")
_N_KNOWN = 32
"""Number of ordinary pieces for dry runs."""


class PieceEncoder:
    """Encodes words as pieces by a fast tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        """Encode by `tokenizer`, which must accept single words; see `taking_words`."""
        self._tokenizer = tokenizer
        self._spaced = _wants_spaces(tokenizer)
        self._unknown = tokenizer.unk_token_id
        self._special = frozenset(tokenizer.all_special_ids) - {self._unknown}

    @property
    def fingerprint(self) -> str:
        """Return a fingerprint of the tokenizer, without its settings for truncation and padding."""
        rules = json.loads(self._tokenizer.backend_tokenizer.to_str())
        used = {key: value for key, value in rules.items() if key not in ("truncation", "padding")}
        return identity_of(type(self._tokenizer), used, self._spaced, self._unknown, self._special)

    def __call__(self, words: Sequence[str]) -> Pieces:
        """Return the pieces of the words of a document, without special ones."""
        # Words that look like special tokens are text, such as "[SEP]" in a review.
        encoded = self._tokenizer(
            _spaced(words) if self._spaced else list(words),
            is_split_into_words=True,
            add_special_tokens=False,
            split_special_tokens=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        ids, word_of_piece, texts = encoded["input_ids"], encoded.word_ids(), encoded.tokens()
        if self._unknown in ids or not self._special.isdisjoint(ids):
            # Drop words of which the tokenizer knows no piece, and special tokens, which some tokenizers produce for
            # ordinary text.
            known = {
                word
                for piece, word in zip(ids, word_of_piece, strict=True)
                if piece != self._unknown and piece not in self._special
            }
            readable = [
                i for i, word in enumerate(word_of_piece) if word in known and ids[i] not in self._special
            ]
            ids, word_of_piece, texts = (
                [column[i] for i in readable] for column in (ids, word_of_piece, texts)
            )
        return Pieces(ids, word_of_piece, texts)

    def known_ids(self) -> list[int]:
        """Return the ids of a few ordinary pieces, the lowest ones, which every model has."""
        return [number for number, _ in islice(_ordinary(self._tokenizer), _N_KNOWN)]


def require_fast(tokenizer: Any, name: str | Path) -> None:
    """Raise if the pieces of a tokenizer cannot be assigned to words.

    Raises:
        UsageError: the tokenizer is not a fast one.
        SnapshotError: the tokenizer knows no words.
    """
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise SnapshotError(f"{name}: its tokenizer knows no words; use a folder with its tokenizer.json")
    if not tokenizer.is_fast:
        raise UsageError(
            f"{name}: {type(tokenizer).__name__} is not a fast tokenizer, so its pieces cannot be assigned to words; "
            "convert it to a tokenizer.json"
        )


def taking_words(tokenizer: Any) -> Any:
    """Return the tokenizer, reloaded if necessary so that it accepts single words."""
    try:
        tokenizer(["word"], is_split_into_words=True)
    except (AssertionError, ValueError):
        # Byte-level tokenizers accept single words only with `add_prefix_space`, an option of loading.
        with TemporaryDirectory(prefix="txray-tokenizer-") as folder:
            tokenizer.save_pretrained(folder)
            return type(tokenizer).from_pretrained(folder, add_prefix_space=True, trust_remote_code=False)
    return tokenizer


def special_ids(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the ids that the tokenizer puts before and after a text."""
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


def _known_words(tokenizer: Any) -> list[str]:
    """Return a few words that the tokenizer knows: English ones, otherwise some from its vocabulary."""
    if _is_known(tokenizer, _ENGLISH):
        return list(_ENGLISH)
    decoded = (tokenizer.decode([number]).strip() for number, _ in islice(_ordinary(tokenizer), 2_000))
    letters = (word for word in decoded if word.isalpha() and _is_known(tokenizer, [word]))
    return sorted(islice(dict.fromkeys(letters), 200), key=len)[-len(_ENGLISH) :]


def _is_known(tokenizer: Any, words: Sequence[str]) -> bool:
    ids = tokenizer(" ".join(words), add_special_tokens=False)["input_ids"]
    return any(number != tokenizer.unk_token_id for number in ids)


def _wants_spaces(tokenizer: Any) -> bool:
    """Return whether words need a leading space to be cut into the same pieces as in running text.

    Byte-level tokenizers treat the space as part of the word, and some join words without it.
    """
    words = _known_words(tokenizer)
    plain: dict[str, Any] = {"add_special_tokens": False}
    in_text = tokenizer(" ".join(words), **plain)["input_ids"]
    as_words, spaced = (
        tokenizer(text, is_split_into_words=True, **plain)["input_ids"] for text in (words, _spaced(words))
    )
    return bool(as_words != in_text and spaced == in_text)


def _spaced(words: Sequence[str]) -> list[str]:
    return [*words[:1], *(f" {word}" for word in words[1:])]
