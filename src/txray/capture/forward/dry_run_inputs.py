"""Inputs for dry runs: ids of real words between the special positions, of any length."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from txray.capture.text.encoding import Indices
from txray.corpus.corpus import Corpus
from txray.errors import TxrayError
from txray.models.pieces import PieceEncoder
from txray.models.text_model import TextModel

# fmt: off
COMMON_WORDS = (
    "the", "film", "is", "good", "and", "its", "plot", "was", "new", "but", "he", "did", "not", "like", "what",
)
# fmt: on
"""Common English words, for dry runs without a corpus."""

_DOCUMENTS, _WORDS = 4, 32
"""Maximum number of documents and of words that are sampled from a corpus."""


def sample_words(corpus: Corpus | None) -> tuple[str, ...]:
    """Return a few distinct words from the beginning of a corpus; none if it is empty or cannot be read.

    Errors are reported later, when the corpus itself is read.
    """
    if corpus is None:
        return ()
    try:
        words = (word for document in islice(corpus, _DOCUMENTS) for word in document.words[:_WORDS])
        return tuple(dict.fromkeys(words))[:_WORDS]
    except TxrayError:
        return ()


def text_ids(model: TextModel, *texts: Sequence[str]) -> Indices:
    """Return the (n,) ids of the first text with at least two words that the model knows; n >= 1.

    Common English words are tried last, then pieces that the tokenizer knows, then the padding id.
    """
    for words in (*texts, COMMON_WORDS):
        ids = _encoded(model, words)
        if len(set(ids) - {model.padding}) > 1:
            return np.array(ids, np.int64)
    known = model.encode.known_ids() if isinstance(model.encode, PieceEncoder) else []
    return np.array(known or [model.padding], np.int64)


def _encoded(model: TextModel, words: Sequence[str]) -> list[int]:
    """Return the ids of words; none if `encode` fails, which is reported later with the document."""
    try:
        return [int(number) for number in model.pieces(words).ids] if words else []
    except Exception:
        return []


def min_input_length(model: TextModel) -> int:
    """Return the length of the shortest input: one piece between the special positions."""
    return max(model.min_length, len(model.prefix) + 1 + len(model.suffix))


def padded_input(
    model: TextModel, text: Indices, lengths: Sequence[int], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return (n_inputs, longest) int64 ids of real text, padded on the right, and a bool mask of the positions in use.

    Args:
        model: provides the special positions around the text.
        text: (n,) ids, repeated as needed; each input starts at a different one.
        lengths: (n_inputs,) length of each input, special positions included.
        device: device of the result.
    """
    ids = np.full((len(lengths), max(lengths)), model.padding, np.int64)
    for row, length in enumerate(lengths):
        pieces = np.resize(np.roll(text, -row), length - len(model.prefix) - len(model.suffix))
        ids[row, :length] = [*model.prefix, *pieces, *model.suffix]
    mask = np.arange(ids.shape[1]) < np.array(lengths)[:, None]
    return torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)
