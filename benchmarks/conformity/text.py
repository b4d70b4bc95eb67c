"""The text that every architecture reads, and one tokenizer for all."""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from txray import Document

_SENTENCE = (
    "the film is good and the plot is new but the end was bad he saw it twice we did not like that one"
)
_WORDS = tuple(dict.fromkeys((*_SENTENCE.split(), *string.ascii_lowercase)))
_IN_PIECES = ("ab", "cafe", "bed")
"""Words that the tokenizer splits into several pieces."""

_LENGTHS = (1, 2, 3, 5, 5, 8, 13, 31, 47)
"""Words of each document; the last ones are longer than most models here can read at once."""

BEGIN, END = 0, 2
"""Ids before and after every input."""


@cache
def tokenizer() -> Any:
    """Return a fast tokenizer of words and letters that puts `<s>` before and `</s>` after a text."""
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *_WORDS]
    pieces += [f"##{letter}" for letter in string.ascii_lowercase[:10]]
    words = Tokenizer(models.WordPiece({piece: n for n, piece in enumerate(pieces)}, unk_token="<unk>"))
    words.normalizer = normalizers.BertNormalizer()
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words.post_processor = processors.TemplateProcessing(
        "<s> $A </s>", special_tokens=[("<s>", BEGIN), ("</s>", END)]
    )
    special = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "cls": "<s>", "sep": "</s>"}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, **{f"{name}_token": piece for name, piece in special.items()}
    )


@cache
def documents() -> tuple[Document, ...]:
    """Return nine documents of 1 to 47 words."""
    random = np.random.default_rng(3)
    return tuple(
        Document(f"d{number}", tuple(random.choice([*_WORDS, *_IN_PIECES], length).tolist()))
        for number, length in enumerate(_LENGTHS)
    )


def inputs(
    words: Sequence[str], max_length: int | None
) -> Iterator[tuple[list[int], list[str], list[slice]]]:
    """Yield the ids of each input of a document, its words, and the positions of the pieces of each word."""
    encoded = tokenizer()(list(words), is_split_into_words=True, add_special_tokens=False)
    pieces: list[list[int]] = [[] for _ in words]
    for number, word in zip(encoded["input_ids"], encoded.word_ids(), strict=True):
        pieces[word].append(number)
    ids, inside, positions = [BEGIN], list[str](), list[slice]()
    for word, numbers in zip(words, pieces, strict=True):
        if max_length is not None and len(ids) + len(numbers) + 1 > max_length:
            yield [*ids, END], inside, positions
            ids, inside, positions = [BEGIN], [], []
        positions.append(slice(len(ids), len(ids) + len(numbers)))
        inside.append(word)
        ids += numbers
    yield [*ids, END], inside, positions
