"""Small models for the tests."""

from __future__ import annotations

from txray.models import RecurrentLanguageModel, Vocabulary, language_model
from txray.models.recurrent import Cell

CELLS: tuple[Cell, ...] = ("lstm", "gru", "rnn-tanh", "rnn-relu")


def words(count: int) -> Vocabulary:
    return Vocabulary(("<unk>", "<eos>", *(f"w{number}" for number in range(count))))


def small(cell: Cell = "lstm", **sizes: object) -> RecurrentLanguageModel:
    options = {"embedding": 5, "hidden": 7, **sizes}
    return language_model(cell, words(9), **options)  # type: ignore[arg-type]
