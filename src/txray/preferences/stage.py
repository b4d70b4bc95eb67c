"""One (model snapshot, corpus) pair and everything collected from it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from txray.errors import ShapeError, UnknownNameError, UsageError
from txray.preferences.documents import DOCUMENT_SCHEMA
from txray.preferences.exemplars import EXEMPLAR_SCHEMA
from txray.preferences.preferences import Preferences
from txray.preferences.scales import SCALE_SCHEMA
from txray.preferences.tags import TAG_SCHEMA
from txray.text import is_text

_FILE_NAME = re.compile(r"[\w.-]{1,100}")
_FILE_NAME_BYTES = 200


def require_names(name: str, feature_types: Iterable[str]) -> None:
    """Refuse names that no stage folder can hold: better before the work than after it.

    Raises:
        UsageError: a name that is no text, or a feature type that cannot be part of a file name.
    """
    if not is_text(name):
        raise UsageError(
            f"stage {name!r}: its name holds half of a surrogate pair, which no file can hold; rename it"
        )
    for feature_type in feature_types:
        if not _FILE_NAME.fullmatch(feature_type) or len(feature_type.encode()) > _FILE_NAME_BYTES:
            raise UsageError(
                f"stage {name!r}: feature {feature_type!r} cannot be part of a file name; rename the annotation "
                "to at most 100 letters, digits, '_', '-' and '.'"
            )


@dataclass(frozen=True, eq=False)
class Stage:
    """Preferences per layer and feature type, exemplars, and how they came about.

    Attributes:
        name: e.g. `epoch-01`, `unsup`, `zero-shot`, `sup`.
        collected: (layer, feature type) -> preferences.
        exemplars: polars, columns as in `EXEMPLAR_SCHEMA`; rank 0 is the strongest.
        manifest: plain JSON values: model and corpus, layers, selection, seeds, versions, and the
            accounting of words: per layer, `words` = `counted` + the sum of `skipped` by reason.
        tags: polars, columns token, pos, count: which tags each token carried; empty unless both kinds
            were collected.
        scales: polars, columns layer, neuron, mean, deviation: what activations were standardized with; empty
            where they were not.
        documents: polars, columns as in `DOCUMENT_SCHEMA`: which texts and groups were read, as hashes; empty for a
            stage made by hand.

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

    def __post_init__(self) -> None:
        if not self.collected:
            raise UsageError(f"stage {self.name!r}: no preferences; collect at least one layer and feature")
        require_names(self.name, self.feature_types)
        missing = set(EXEMPLAR_SCHEMA) - set(self.exemplars.columns)
        if missing:
            raise ShapeError(f"stage {self.name!r}: exemplars lack the columns {sorted(missing)}")

    def __repr__(self) -> str:
        return f"Stage({self.name!r}, layers={list(self.layers)}, feature_types={list(self.feature_types)})"

    def _repr_html_(self) -> str:
        from txray.preferences.repr_html import stage_html

        return stage_html(self)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in the order of collection."""
        return tuple(dict.fromkeys(layer for layer, _ in self.collected))

    @property
    def feature_types(self) -> tuple[str, ...]:
        """The feature types, in the order of collection."""
        return tuple(dict.fromkeys(feature_type for _, feature_type in self.collected))

    def preferences(self, layer: str | None = None, feature_type: str = "token") -> Preferences:
        """The preferences of one layer for one feature type.

        Args:
            layer: may be left out where the stage has only one.
            feature: the feature type.

        Raises:
            UsageError: several layers and none named.
            UnknownNameError: no such layer or feature.
        """
        if layer is None:
            if len(self.layers) > 1:
                raise UsageError(f"stage {self.name!r}: several layers, name one of {', '.join(self.layers)}")
            layer = self.layers[0]
        if layer not in self.layers:
            raise UnknownNameError.of(f"layer of stage {self.name!r}", layer, self.layers)
        if feature_type not in self.feature_types:
            raise UnknownNameError.of(f"feature of stage {self.name!r}", feature_type, self.feature_types)
        return self.collected[layer, feature_type]

    def save(self, folder: Path | str) -> Path:
        """Write the stage folder, complete or not at all; returns its path.

        Raises:
            OutputError: the place cannot be written.
        """
        from txray.preferences.store import save_stage

        return save_stage(self, folder)

    def to_dataset(self, feature_type: str = "token", layer: str | None = None) -> Any:
        """The preferences for one feature type as a Hugging Face data set.

        Args:
            feature: the feature type.
            layer: only this one; all by default.

        Returns:
            `datasets.Dataset` in memory: the column layer, and those of `Preferences.table`; one row per feature that
            a neuron prefers, layer by layer in the order of collection, within each in the order of that table.

        Raises:
            UsageError: the package datasets is not installed.
            UnknownNameError: no such layer or feature.
        """
        from txray.preferences.export import as_dataset

        return as_dataset(self, feature_type, layer)
