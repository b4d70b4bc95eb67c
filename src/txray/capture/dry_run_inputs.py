"""Inputs of dry runs, of any size: ids of real words between the special positions of real inputs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from txray.capture.encoding import Indices
from txray.corpus.corpus import Corpus
from txray.errors import TxrayError
from txray.models.pieces import PieceEncoder
from txray.models.text_model import TextModel

COMMON_WORDS = (
    "the",
    "film",
    "is",
    "good",
    "and",
    "its",
    "plot",
    "was",
    "new",
    "but",
    "he",
    "did",
    "not",
    "like",
    "what",
)
"""Words that occur in almost any English text, for models that are tried out without a corpus."""

_DOCUMENTS, _WORDS = 4, 32
"""Maximum numbers of documents and words that are sampled from a corpus."""


def sample_words(corpus: Corpus | None) -> tuple[str, ...]:
    """Return a few different words from the beginning of a corpus; none where it has none or cannot be read.

    What is wrong with it is reported when the corpus itself is read.
    """
    if corpus is None:
        return ()
    try:
        words = (word for document in islice(corpus, _DOCUMENTS) for word in document.words[:_WORDS])
        return tuple(dict.fromkeys(words))[:_WORDS]
    except TxrayError:
        return ()


def text_ids(model: TextModel, *texts: Sequence[str]) -> Indices:
    """Return ids of real text: of the first of some texts of which the model knows two words or more.

    Args:
        model: whose `encode` is requested.
        texts: words, the best ones first; without any, common English words.

    Returns:
        (n,) ids, at least 1: of one of the texts, or else of pieces that the tokenizer knows, or else padding.
    """
    for words in (*texts, COMMON_WORDS):
        ids = _encoded(model, words)
        if len(set(ids) - {model.padding}) > 1:
            return np.array(ids, np.int64)
    known = model.encode.known_ids() if isinstance(model.encode, PieceEncoder) else []
    return np.array(known or [model.padding], np.int64)


def _encoded(model: TextModel, words: Sequence[str]) -> list[int]:
    """Return the ids of words; none where `encode` fails, which it does again at the document that has such words."""
    try:
        return [int(number) for number in model.pieces(words).ids] if words else []
    except Exception:
        return []


def min_input_length(model: TextModel) -> int:
    """Return the positions of the shortest input of real text: one piece between the special positions."""
    return max(model.min_length, len(model.prefix) + 1 + len(model.suffix))


def padded_input(
    model: TextModel, text: Indices, lengths: Sequence[int], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Make inputs of real text, padded on the right to the longest.

    Args:
        model: whose special positions frame the text.
        text: (n,) ids, repeated as often as needed; each input begins at another one.
        lengths: (n_inputs,) positions of each, special ones included.
        device: where the inputs go.

    Returns:
        (n_inputs, longest) int64 ids, and a mask of the same shape, True where a position is in use.
    """
    ids = np.full((len(lengths), max(lengths)), model.padding, np.int64)
    for row, length in enumerate(lengths):
        pieces = np.resize(np.roll(text, -row), length - len(model.prefix) - len(model.suffix))
        ids[row, :length] = [*model.prefix, *pieces, *model.suffix]
    mask = np.arange(ids.shape[1]) < np.array(lengths)[:, None]
    return torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)
