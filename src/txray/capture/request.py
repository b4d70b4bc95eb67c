"""What a collection is requested for, and what may carry it out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import polars as pl
from torch import nn

from txray.capture.layers import Layer
from txray.capture.selection import Selection
from txray.corpus.corpus import Corpus
from txray.errors import UsageError
from txray.models.text_model import TextModel
from txray.preferences import Stage
from txray.preferences.manifest import require_names


class Scales(Protocol):
    """Where means and standard deviations of neurons come from, such as a stage."""

    @property
    def name(self) -> str:
        """What to call it in errors."""

    @property
    def scales(self) -> pl.DataFrame:
        """Columns layer, neuron, mean, deviation."""


@dataclass(frozen=True, eq=False)
class CollectRequest:
    """Everything that `txray.collect` was requested for, checked as far as that needs neither model nor text.

    Attributes are the arguments of `txray.collect`.

    Raises:
        UsageError: nothing requested for, something requested for twice, or a number that cannot be.
    """

    model: nn.Module | TextModel
    corpus: Corpus
    layers: tuple[str | Layer, ...]
    feature_types: tuple[str, ...]
    selection: Selection
    name: str
    max_words: int | None
    folds: int
    exemplars: int
    batch_positions: int
    scales: Scales | None
    checkpoint: Path | None
    checkpoint_seconds: float
    memory: int | None
    autocast: str | None

    def __post_init__(self) -> None:
        for what, requested in (("layers", self.layers), ("feature_types", self.feature_types)):
            if not requested or len(set(requested)) != len(requested):
                raise UsageError(
                    f"collect: {what}={list(requested)!r}; give a list of at least one name, each once"
                )
        require_names(self.name, self.feature_types)
        if self.exemplars < 0:
            raise UsageError(f"collect: exemplars={self.exemplars}; must not be negative")

    def source(self) -> Corpus:
        """The documents to be read: the corpus, or as many of its words as were requested for."""
        return self.corpus if self.max_words is None else self.corpus.take(self.max_words)


class Engine(Protocol):
    """What carries out a collection: in this process, or in many."""

    def collect(self, request: CollectRequest) -> Stage:
        """The stage that one pass over all documents gives.

        Counts must be exactly those of the single pass, sums equal up to the order of adding up.

        Raises:
            TxrayError: as `txray.collect` does.
        """
