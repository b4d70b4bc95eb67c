"""Names of predicted pieces, for every kind of tokenizer."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import decoders

from tests.builders.families import tokenizer as wordpieces
from tests.builders.hub_folders import tokenizer_of
from txray.models.piece_names import PieceNames


def unigram() -> Any:
    """Return a tokenizer that marks spaces, and joins its pieces by these marks."""
    tokenizer = tokenizer_of("t5")
    tokenizer.backend_tokenizer.decoder = decoders.Metaspace()
    return tokenizer


def test_byte_level_pieces_are_named_by_their_text() -> None:
    tokenizer = tokenizer_of("gpt2")
    name = PieceNames(tokenizer)
    number = tokenizer.convert_tokens_to_ids
    assert name(number("Ġthe")) == "the"
    assert name(number("ing")) == "##ing"
    assert name(number(".")) == "."
    assert name(number("<|endoftext|>")) == "<|endoftext|>"
    # White space and half a character have no text of their own.
    assert name(number("Ġ")) == "Ġ"
    assert name(number("Ċ")) == "Ċ"
    assert name(number("Ã")) == "Ã"
    assert name(len(tokenizer) + 5) is None


def test_word_pieces_are_named_like_words() -> None:
    tokenizer = wordpieces()
    name = PieceNames(tokenizer)
    assert name(tokenizer.convert_tokens_to_ids("film")) == "film"
    assert name(tokenizer.convert_tokens_to_ids("##a")) == "##a"
    assert name(tokenizer.convert_tokens_to_ids("<mask>")) == "<mask>"


def test_special_tokens_keep_their_names() -> None:
    tokenizer = tokenizer_of("gpt2")
    tokenizer.add_special_tokens({"pad_token": "PADDING"})
    assert PieceNames(tokenizer)(tokenizer.pad_token_id) == "PADDING"


def test_unigram_pieces_are_named_by_their_text() -> None:
    tokenizer = unigram()
    name = PieceNames(tokenizer)
    assert name(tokenizer.convert_tokens_to_ids("▁the")) == "the"
    assert name(tokenizer.convert_tokens_to_ids("s")) == "##s"
    assert name(tokenizer.convert_tokens_to_ids("▁")) == "▁"


@pytest.mark.parametrize(
    "tokenizer", [tokenizer_of("gpt2"), wordpieces(), unigram()], ids=["bytes", "words", "unigram"]
)
def test_every_piece_has_a_visible_name(tokenizer: Any) -> None:
    name = PieceNames(tokenizer)
    names = [name(number) for number in range(len(tokenizer))]
    assert all(text and text.isprintable() and text == text.strip() for text in names)
