"""Small models of every kind, untrained, with what it takes to read text through them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from txray.models import Pieces, TextModel

SIZE = 40
"""Ids that the models know."""


def word_ids(words: Sequence[str]) -> list[int]:
    """One id per word, by its letters."""
    return [2 + sum(word.lower().encode()) % (SIZE - 2) for word in words]


def letter_pieces(words: Sequence[str]) -> Pieces:
    """Words in pieces of two letters; a word without letters has none."""
    parts = [
        (number, word[start : start + 2])
        for number, word in enumerate(words)
        for start in range(0, len(word), 2)
        if word.isalpha()
    ]
    return Pieces(word_ids([part for _, part in parts]), [n for n, _ in parts], [part for _, part in parts])


class TextCnn(nn.Module):
    """Convolutions of width 3, without padding, over embedded words."""

    def __init__(self, neurons: int = 7) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SIZE, 6)
        self.conv = nn.Conv1d(6, neurons, 3)
        self.act = nn.ReLU()

    def forward(self, ids: Tensor) -> Tensor:
        return self.act(self.conv(self.embedding(ids).transpose(1, 2))).amax(dim=2)


class Transformer(nn.Module):
    """PyTorch's own encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SIZE, 8)
        layer = nn.TransformerEncoderLayer(8, 2, dim_feedforward=12, batch_first=True, dropout=0.1)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, ids: Tensor, mask: Tensor) -> Any:
        return self.encoder(self.embedding(ids), src_key_padding_mask=~mask)


class Packed(nn.Module):
    """A GRU that reads packed sequences, time first."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SIZE, 5)
        self.gru = nn.GRU(5, 9)

    def forward(self, ids: Tensor, mask: Tensor) -> Any:
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embedding(ids), mask.sum(dim=1).cpu(), batch_first=True, enforce_sorted=False
        )
        return self.gru(packed)


class TimeFirst(nn.Module):
    """An LSTM whose output has time before documents, and a layer that sees all positions in one axis."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SIZE, 5)
        self.lstm = nn.LSTM(5, 9)
        self.flat = nn.Linear(9, 4)

    def forward(self, ids: Tensor) -> Tensor:
        hidden, _ = self.lstm(self.embedding(ids).transpose(0, 1))
        flat: Tensor = self.flat(hidden.transpose(0, 1).reshape(-1, 9))
        return flat


def seeded(module_of: type[nn.Module], seed: int = 0) -> nn.Module:
    """A module whose weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return module_of().eval()


def with_mask(module: nn.Module, ids: Tensor, mask: Tensor) -> object:
    """The forward pass of modules that want the mask."""
    return module(ids, mask)


def transformer(**options: Any) -> TextModel:
    """PyTorch's encoder over words of several pieces, with a special position at both ends."""
    return TextModel(seeded(Transformer), letter_pieces, with_mask, prefix=(0,), suffix=(1,), **options)
