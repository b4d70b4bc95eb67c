"""Settings of the collection that a tracker repeats at every measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from txray.capture import Layer, Selection, collect
from txray.capture.forward.through import through_fingerprint
from txray.corpus.corpus import Corpus
from txray.errors import UsageError
from txray.models.text_model import TextModel
from txray.preferences import Stage
from txray.preferences.folds import DEFAULT_FOLDS


@dataclass(frozen=True, eq=False)
class CollectSpec:
    """A fixed text and the settings of its collection, equal for all stages so that they can be compared.

    Attributes:
        corpus: the documents; kept in memory after the first pass.
        layers: names or patterns of the layers, see `txray.collect`, as for all that follow.
        feature_types: feature types.
        selection: selection of activations.
        max_words: maximum number of words; all by default.
        folds: number of folds.
        exemplars: exemplars per neuron.
        batch_positions: positions per batch.

    Raises:
        UsageError: `corpus` is not a `Corpus`.

    Example:
        >>> spec = CollectSpec(text, ["rnn"], feature_types=["token", "pos"], max_words=5_000)
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
                f"CollectSpec: corpus is a {type(self.corpus).__name__}; read a corpus with txray.read_corpus"
            )

    @cached_property
    def text(self) -> Corpus:
        """The words to read, cached in memory: reading and tagging them may take longer than running the model."""
        return (self.corpus if self.max_words is None else self.corpus.take_words(self.max_words)).cache()

    def collect(self, model: nn.Module | TextModel, name: str, checkpoint: Path | None = None) -> Stage:
        """Return the stage of a model in its current state.

        Args:
            model: see `txray.collect`.
            name: name of the stage.
            checkpoint: folder for checkpoints of the collection, from which it resumes; None for none.
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
        """Return the settings that two comparable stages share, as plain JSON values."""
        return {
            "corpus": self.text.fingerprint,
            "layers": [layer if isinstance(layer, str) else repr(layer) for layer in self.layers],
            "feature_types": list(self.feature_types),
            "selection": str(self.selection),
            "folds": self.folds,
            "exemplars": self.exemplars,
            **self._through(),
        }

    def _through(self) -> dict[str, list[str | None]]:
        """Return fingerprints of the modules through which layers are read; empty if there are none."""
        through = [layer.through if isinstance(layer, Layer) else None for layer in self.layers]
        fingerprints = [None if modules is None else through_fingerprint(modules) for modules in through]
        return {"through": fingerprints} if any(fingerprints) else {}
