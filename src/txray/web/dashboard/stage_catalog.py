"""Stage folders that are read layer by layer, on demand, and checked for changes on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from txray.errors import (
    StageError,
    TxrayError,
    UnknownNameError,
    UsageError,
    in_one_line,
)
from txray.preferences import Preferences
from txray.preferences.exemplars import EXEMPLAR_SCHEMA
from txray.preferences.preferences import ROW_BYTES
from txray.preferences.stage import require_names
from txray.preferences.store import MANIFEST, Vocabulary, read_layer, read_manifest, read_vocabulary
from txray.preferences.tags import TAG_SCHEMA
from txray.web.dashboard.lru_cache import LRUCache

MAX_LAYER_BYTES = 256 << 20
"""Limit of the preferences in memory, of all stages together."""

Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class StageFolder:
    """A stage on disk, of which only the manifest is in memory.

    Attributes:
        path: of the folder.
        manifest: as in `txray.Stage`.
        fingerprint: of the manifest, which holds the checksums of all tables, so that it differs between stages.
        stat: modification time, size and inode of the manifest when it was read.
        cache: of layers.
    """

    path: Path
    manifest: Mapping[str, Any]
    fingerprint: str
    stat: tuple[int, int, int]
    cache: LRUCache = field(repr=False)
    _vocabularies: dict[str, Vocabulary] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, path: Path | str, cache: LRUCache | None = None) -> StageFolder:
        """Read the manifest.

        Args:
            path: of the folder.
            cache: of layers, shared by all stages of a catalog.

        Raises:
            StageError: missing, unfinished, damaged, or of another format.
        """
        folder = Path(path)
        manifest = read_manifest(folder)
        try:
            # They become file names, also in the cache.
            require_names(manifest["name"], manifest["features"])
        except UsageError as error:
            raise StageError(f"{folder / MANIFEST}: {error}") from error
        fingerprint = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()[:20]
        return cls(folder, manifest, fingerprint, _stat(folder), cache or LRUCache(MAX_LAYER_BYTES))

    @property
    def name(self) -> str:
        """Name of the stage."""
        return str(self.manifest["name"])

    @cached_property
    def layers(self) -> Mapping[str, int]:
        """Layer -> number of neurons, in the order of collection."""
        return dict(self.manifest["neurons"])

    @cached_property
    def starts(self) -> Mapping[str, int]:
        """Layer -> row of its first neuron among the neurons of all layers."""
        starts = accumulate(self.layers.values(), initial=0)
        return dict(zip(self.layers, starts, strict=False))

    @property
    def feature_types(self) -> tuple[str, ...]:
        """The feature types."""
        return tuple(self.manifest["features"])

    @property
    def changed(self) -> str:
        """What happened to the folder since it was opened, in words; empty if nothing did."""
        try:
            stat = _stat(self.path)
        except OSError:
            return f"stage folder {self.path} is gone; put it back, or collect the stage again"
        return "" if stat == self.stat else f"stage folder {self.path} has changed on disk"

    def vocabulary(self, feature_type: str) -> Vocabulary:
        """Return the features of a type and their counts in the corpus."""
        if feature_type not in self._vocabularies:
            self._vocabularies[feature_type] = self._read(
                lambda: read_vocabulary(self.path, self.manifest, feature_type)
            )
        return self._vocabularies[feature_type]

    def preferences(self, layer: str, feature_type: str) -> Preferences:
        """Return the preferences of one layer.

        Raises:
            UnknownNameError: no such layer or feature type.
            StageError: the folder has changed, is gone or damaged.
        """
        if layer not in self.layers:
            raise UnknownNameError.of(f"layer of stage {self.name!r}", layer, self.layers)
        if feature_type not in self.feature_types:
            raise UnknownNameError.of(f"feature of stage {self.name!r}", feature_type, self.feature_types)
        vocabulary = self.vocabulary(feature_type)
        return self.cache.get(
            (self.fingerprint, layer, feature_type),
            lambda: self._read(lambda: read_layer(self.path, self.manifest, layer, feature_type, vocabulary)),
            # Its totals are cached with it.
            lambda preferences: 2 * ROW_BYTES * len(preferences.fold),
        )

    def neuron(self, layer: str, feature_type: str, neuron: int) -> Preferences:
        """Return the preferences of one neuron: those of its layer, empty for all other neurons. Faster than all of it.

        Raises:
            StageError: the folder has changed, is gone or damaged.
        """
        vocabulary = self.vocabulary(feature_type)
        return self._read(
            lambda: read_layer(self.path, self.manifest, layer, feature_type, vocabulary, neuron)
        )

    def exemplars(self, layer: str, neuron: int) -> pl.DataFrame:
        """Return the strongest occurrences of one neuron, strongest first; columns as in `EXEMPLAR_SCHEMA`."""
        of_neuron = (pl.col("layer") == layer) & (pl.col("neuron") == neuron)
        table = self._read(
            lambda: pl.scan_parquet(self.path / "exemplars.parquet").filter(of_neuron).sort("rank").collect()
        )
        missing = [
            pl.lit(None, dtype).alias(name) for name, dtype in EXEMPLAR_SCHEMA.items() if name not in table
        ]
        return table.with_columns(missing)

    def tags(self) -> pl.DataFrame:
        """Return which tags each token carried; columns as in `TAG_SCHEMA`."""
        return self.cache.get(
            (self.fingerprint, "tags"),
            lambda: self._read(lambda: pl.read_parquet(self.path / "tags.parquet").select(*TAG_SCHEMA)),
            lambda table: int(table.estimated_size()),
        )

    def _read(self, read: Callable[[], Value]) -> Value:
        """Read something, and raise if the folder has changed before or meanwhile."""
        self._require_unchanged()
        try:
            value = read()
        except (LookupError, TypeError, ValueError, OSError, TxrayError, pl.exceptions.PolarsError) as error:
            self._require_unchanged()
            raise StageError(
                f"stage folder {self.path}: cannot be read ({in_one_line(error)}); collect the stage again"
            ) from error
        self._require_unchanged()
        return value

    def _require_unchanged(self) -> None:
        if self.changed:
            raise StageError(f"{self.changed}; load it again")


def _stat(folder: Path) -> tuple[int, int, int]:
    stat = (folder / MANIFEST).stat()
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


class StageCatalog:
    """The stages that are served, in order, with unique names."""

    def __init__(self, folders: Sequence[Path | str]) -> None:
        """Open them.

        Args:
            folders: stage folders.

        Raises:
            UsageError: no stage, or two of one name.
            StageError: a folder that is no stage, or cannot be read.
        """
        if not folders:
            raise UsageError("dashboard: no stage; name at least one stage folder")
        self._cache = LRUCache(MAX_LAYER_BYTES)
        self._stages = [StageFolder.open(folder, self._cache) for folder in folders]
        self.revision = 0
        names = [stage.name for stage in self._stages]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            paths = ", ".join(str(stage.path) for stage in self._stages if stage.name == twice[0])
            raise UsageError(
                f"dashboard: several stages are named {twice[0]!r} ({paths}); serve one of them, or collect under "
                "another name"
            )

    def __iter__(self) -> Iterator[StageFolder]:
        return iter(self._stages)

    def __getitem__(self, name: str) -> StageFolder:
        for stage in self._stages:
            if stage.name == name:
                return stage
        raise UnknownNameError.of("stage", name, self.names)

    @property
    def names(self) -> list[str]:
        """Names of the stages, in order."""
        return [stage.name for stage in self._stages]

    @property
    def feature_types(self) -> list[str]:
        """The feature types of all stages."""
        return list(
            dict.fromkeys(feature_type for stage in self._stages for feature_type in stage.feature_types)
        )

    @property
    def layers(self) -> list[str]:
        """The layers of all stages."""
        return list(dict.fromkeys(layer for stage in self._stages for layer in stage.layers))

    def changes(self) -> list[str]:
        """Return what happened to the folders since they were opened, in words."""
        return [stage.changed for stage in self._stages if stage.changed]

    def reload(self) -> list[str]:
        """Open changed folders again; return which cannot be opened, in words, and keep those as they were."""
        problems = []
        for index, stage in enumerate(self._stages):
            if not stage.changed:
                continue
            try:
                new = StageFolder.open(stage.path, self._cache)
            except (StageError, OSError) as error:
                problems.append(str(error))
                continue
            others = {other.name for other in self._stages if other is not stage}
            if new.name in others:
                problems.append(
                    f"stage folder {stage.path} now holds a stage {new.name!r}; another stage has the same name"
                )
                continue
            self._stages[index] = new
        self.revision += 1
        return problems
