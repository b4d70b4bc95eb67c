"""Small models that are really trained, and a logger that remembers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import torch

import txray
from txray.models import RecurrentLanguageModel, language_model
from txray.tracking import CollectSpec

TEXT = txray.demo_corpus("encyclopedia", words=3_000)
FAST: dict[str, Any] = {"permutations": 60}
"""Options of trackers whose tests need not find much."""


def spec(features: tuple[str, ...] = ("token",)) -> CollectSpec:
    return CollectSpec(TEXT, ["rnn"], features, max_words=1_500)


def untrained(seed: int = 0) -> RecurrentLanguageModel:
    return language_model("lstm", TEXT, embedding=8, hidden=16, dropout=0.3, seed=seed)


class Loop:
    """A plain training loop; every step depends on the generator of random numbers, by batches and by dropout."""

    def __init__(self, model: RecurrentLanguageModel) -> None:
        torch.manual_seed(5)
        self.model = model.train()
        self.optimizer = torch.optim.Adam(model.parameters(), lr=0.02)

    def step(self) -> float:
        ids = torch.randint(0, len(self.model.vocabulary), (4, 12))
        outputs, _ = self.model.hidden_states(ids, None)
        scores = self.model.decoder(self.model.dropout(outputs[:, :-1]))
        loss = torch.nn.functional.cross_entropy(scores.flatten(0, 1), ids[:, 1:].flatten())
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return float(loss)


class RecordingLogger:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.values: dict[int, dict[str, float]] = {}
        self.figures: list[tuple[str, int]] = []
        self.tables: dict[tuple[str, int], pl.DataFrame] = {}
        self.stages: list[tuple[Path, int]] = []
        self.closed = 0

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        assert step not in self.values
        self.values[step] = dict(values)

    def figure(self, name: str, figure: Any, step: int) -> None:
        assert figure.data
        self.figures.append((name, step))

    def table(self, name: str, table: pl.DataFrame, step: int) -> None:
        self.tables[name, step] = table

    def stage(self, folder: Path, step: int) -> None:
        assert txray.Stage.load(folder).name == folder.name
        self.stages.append((folder, step))

    def close(self) -> None:
        self.closed += 1


def same(one: Mapping[str, txray.Timeline], other: Mapping[str, txray.Timeline]) -> bool:
    """Whether two stories tell the same, bit by bit."""
    tables = ("stages", "changes", "flows", "distances")
    return one.keys() == other.keys() and all(
        getattr(one[kind], name).equals(getattr(other[kind], name)) for kind in one for name in tables
    )
