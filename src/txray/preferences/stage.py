"""One (model snapshot, corpus) pair and everything collected from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from txray.errors import ShapeError, UsageError
from txray.preferences.documents import DOCUMENT_SCHEMA
from txray.preferences.exemplars import EXEMPLAR_SCHEMA
from txray.preferences.histogram_files import Histograms
from txray.preferences.manifest import require_names
from txray.preferences.output_tokens import OUTPUT_TOKEN_SCHEMA
from txray.preferences.preferences import Preferences
from txray.preferences.repr_html import stage_html
from txray.preferences.scales import SCALE_SCHEMA
from txray.preferences.stage_access import StageAccess
from txray.preferences.stage_folder import StageFolder
from txray.preferences.store import write_stage
from txray.preferences.tags import TAG_SCHEMA


@dataclass(frozen=True, eq=False, repr=False)
class Stage(StageAccess):
    """Preferences per layer and feature type, exemplars, and how they were collected.

    Index it by name: `stage["rnn", "token"]`, or `stage["rnn"]` if there is one feature type.

    Attributes:
        name: e.g. `epoch-01`, `unsup`, `zero-shot`, `sup`.
        collected: (layer, feature type) -> preferences.
        exemplars: polars, columns as in `EXEMPLAR_SCHEMA`; rank 0 is the strongest.
        manifest: plain JSON values: model and corpus, layers, selection, seeds, versions, and the
            accounting of words: per layer, `words` = `counted` + the sum of `skipped` by reason.
        tags: polars, columns token, pos, count: which tags each token carried; empty unless both feature types
            were collected.
        scales: polars, columns layer, neuron, mean, deviation: what activations were standardized with; empty
            if they were not.
        documents: polars, columns as in `DOCUMENT_SCHEMA`: which texts and groups were read, as hashes; empty for a
            stage made by hand.
        output_tokens: polars, columns as in `OUTPUT_TOKEN_SCHEMA`: the tokens that each neuron promotes and suppresses,
            see `txray.output_tokens`; empty unless they were asked for.
        histograms: (layer, feature type) -> activations in bins by concept, see `txray.rank_neurons`; empty unless
            there were concepts to look for.

    Raises:
        UsageError: nothing was collected.
        ShapeError: exemplars without the columns they need.
    """

    name: str
    collected: Mapping[tuple[str, str], Preferences]
    exemplars: pl.DataFrame
    manifest: Mapping[str, Any] = field(default_factory=dict)
    tags: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=TAG_SCHEMA))
    scales: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SCALE_SCHEMA))
    documents: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=DOCUMENT_SCHEMA))
    output_tokens: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=OUTPUT_TOKEN_SCHEMA))
    histograms: Histograms = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.collected:
            raise UsageError(
                f"stage {self.name!r}: no preferences; collect at least one layer and feature type"
            )
        require_names(self.name, self.feature_types)
        missing = set(EXEMPLAR_SCHEMA) - set(self.exemplars.columns)
        if missing:
            raise ShapeError(f"stage {self.name!r}: exemplars lack the columns {sorted(missing)}")

    @classmethod
    def load(cls, folder: StageFolder | Path | str) -> Stage:
        """Read a whole stage folder into memory; `StageFolder.open` reads it on demand.

        Args:
            folder: written by `save` or by `txray collect`.

        Raises:
            StageError: missing, unfinished, of another format, damaged, or a folder of several stages.

        Example:
            >>> stage = Stage.load("stages/sup")  # doctest: +SKIP
        """
        if not isinstance(folder, StageFolder):
            folder = StageFolder.open(folder)
        return cls(**folder.contents())

    def save(self, folder: Path | str) -> Path:
        """Write the stage folder, complete or not at all, and return its path.

        Args:
            folder: created, or replaced if it holds a stage already.

        Raises:
            OutputError: the folder cannot be written, or holds something other than a stage.
        """
        write_stage(self, Path(folder))
        return Path(folder)

    def _repr_html_(self) -> str:
        rows = []
        for (layer, feature_type), preferences in self.collected.items():
            lengths = preferences.lengths()
            preferred = lengths[lengths > 0]
            mean = float(preferred.mean()) if len(preferred) else None
            n_features = len(preferences.features)
            rows.append((layer, feature_type, preferences.n_neurons, len(preferred), mean, n_features))
        columns = ["layer", "feature type", "neurons", "in use", "mean length", "features"]
        return stage_html(self.name, pl.DataFrame(rows, columns, orient="row"), self.manifest)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in the order of collection."""
        return tuple(dict.fromkeys(layer for layer, _ in self.collected))

    @property
    def feature_types(self) -> tuple[str, ...]:
        """The feature types, in the order of collection."""
        return tuple(dict.fromkeys(feature_type for _, feature_type in self.collected))

    @property
    def n_neurons(self) -> Mapping[str, int]:
        """Number of neurons per layer."""
        return {layer: preferences.n_neurons for (layer, _), preferences in self.collected.items()}

    def _preferences(self, layer: str, feature_type: str) -> Preferences:
        return self.collected[layer, feature_type]

    def _layer_output_tokens(self, layer: str) -> pl.DataFrame:
        return self.output_tokens.filter(layer=layer)

    def _neuron_exemplars(self, number: int, layer: str) -> pl.DataFrame:
        return self.exemplars.filter(layer=layer, neuron=number).sort("rank")
