"""What is asked of a model each time that it is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from txray.capture import Layer, Selection, collect
from txray.corpus.corpus import Corpus
from txray.errors import UsageError
from txray.models.text_model import TextModel
from txray.preferences import Stage
from txray.preferences.folds import DEFAULT_FOLDS


@dataclass(frozen=True, eq=False)
class CollectSpec:
    """A fixed text, and what is collected of it: the same of every stage, so that stages can be compared.

    Attributes:
        corpus: the documents; they are kept in memory once they were read.
        layers, feature_types, selection, max_words, folds, exemplars, batch_positions: see `txray.collect`.

    Raises:
        UsageError: what is given as corpus is none.
    """

    corpus: Corpus
    layers: Sequence[str | Layer]
    feature_types: Sequence[str] = ("token",)
    selection: Selection | str = "max-1"
    max_words: int | None = None
    folds: int = DEFAULT_FOLDS
    exemplars: int = 8
    batch_positions: int = 16_384

    def __post_init__(self) -> None:
        if not isinstance(self.corpus, Corpus):
            raise UsageError(
                f"probe: a {type(self.corpus).__name__} is no corpus; read one with txray.read_corpus"
            )

    @cached_property
    def text(self) -> Corpus:
        """What is read of the corpus, kept in memory: reading, and tagging, may take longer than the model does."""
        return (self.corpus if self.max_words is None else self.corpus.take(self.max_words)).in_memory()

    def collect(self, model: nn.Module | TextModel, name: str, checkpoint: Path | None = None) -> Stage:
        """The stage of a model as it is now.

        Args:
            model: see `txray.collect`.
            name: of the stage.
            checkpoint: the folder that the stage will be saved to, where an interruption is to lose little.
        """
        return collect(
            model,
            self.text,
            layers=self.layers,
            feature_types=self.feature_types,
            selection=self.selection,
            name=name,
            folds=self.folds,
            exemplars=self.exemplars,
            batch_positions=self.batch_positions,
            checkpoint=checkpoint,
        )

    def as_json(self) -> dict[str, Any]:
        """What decides whether two stages can be compared, as plain JSON values."""
        return {
            "corpus": self.text.fingerprint,
            "layers": [each if isinstance(each, str) else repr(each) for each in self.layers],
            "feature_types": list(self.feature_types),
            "selection": str(self.selection),
            "folds": self.folds,
            "exemplars": self.exemplars,
        }
