"""The arguments of a collection, and the interface of the engines that carry it out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from torch import nn

from txray.activations.stored import StoredActivations
from txray.activations.writer import SaveActivations
from txray.capture.concept_bins import Concepts, require_concepts
from txray.capture.layer import Layer
from txray.capture.model_adapter import Autocast
from txray.capture.scales import Scales
from txray.capture.selection import Selection
from txray.corpus.corpus import Corpus
from txray.errors import UsageError
from txray.models.text_model import TextModel
from txray.preferences import Stage
from txray.preferences.manifest import require_names


@dataclass(frozen=True, eq=False)
class CollectRequest:
    """The arguments of `txray.collect`, checked as far as possible without model and text.

    The attributes are those arguments; layers and feature types are tuples, and of a stage `scales` only the scales.

    Raises:
        UsageError: no layer or feature type, one that occurs twice, or a number out of range.
    """

    model: nn.Module | TextModel | StoredActivations
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
    autocast: Autocast | None
    save_activations: SaveActivations | None = None
    concepts: Concepts = field(default_factory=dict)

    def __post_init__(self) -> None:
        for argument, names in (("layers", self.layers), ("feature_types", self.feature_types)):
            if not names or len(set(names)) != len(names):
                raise UsageError(
                    f"collect: {argument}={list(names)!r}; pass at least one name, and each only once"
                )
        require_names(self.name, self.feature_types)
        require_concepts(self.concepts, self.feature_types)
        if self.exemplars < 0:
            raise UsageError(f"collect: exemplars={self.exemplars}; it must not be negative")

    def source(self) -> Corpus:
        """Return the documents to read: the corpus, or its first `max_words` words."""
        return self.corpus if self.max_words is None else self.corpus.take_words(self.max_words)


class Engine(Protocol):
    """Carries out a collection, in this process or in many."""

    def collect(self, request: CollectRequest) -> Stage:
        """Return the stage of one pass over all documents.

        Counts must equal those of a single pass in this process, and sums must be equal up to the order of summation.

        Raises:
            TxrayError: as `txray.collect` does.
        """
