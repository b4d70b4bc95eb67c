"""Stage folders that are read layer by layer when somebody looks, and noticed when they change."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from threading import Lock
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

LAYERS_HELD = 256 << 20
"""Bytes of preferences that are kept in memory, of all stages together."""

Value = TypeVar("Value")


class LRUCache:
    """The values used last, up to a number of bytes; safe to use from several threads."""

    def __init__(self, most: int) -> None:
        """Start empty.

        Args:
            most: bytes; the value used last is kept whatever its size.
        """
        self._most = most
        self._held: OrderedDict[Any, tuple[Any, int]] = OrderedDict()
        self._lock = Lock()
        self._making: dict[Any, Lock] = {}

    def get(self, key: Any, make: Callable[[], Value], size: Callable[[Value], int]) -> Value:
        """The value of this key, made if it is not held.

        Args:
            key: hashable.
            make: called once for all who ask meanwhile; who asks for other keys does not wait.
            size: bytes of a value.
        """
        found, value = self._find(key)
        if found:
            return value  # type: ignore[no-any-return]
        with self._lock:
            making = self._making.setdefault(key, Lock())
        with making:
            found, value = self._find(key)
            if found:
                return value  # type: ignore[no-any-return]
            try:
                made = make()
                with self._lock:
                    self._held[key] = (made, size(made))
                    self._held.move_to_end(key)
                    while (
                        len(self._held) > 1 and sum(number for _, number in self._held.values()) > self._most
                    ):
                        self._held.popitem(last=False)
                return made
            finally:
                with self._lock:
                    self._making.pop(key, None)

    def _find(self, key: Any) -> tuple[bool, Any]:
        with self._lock:
            if key not in self._held:
                return False, None
            self._held.move_to_end(key)
            return True, self._held[key][0]


@dataclass(frozen=True, eq=False)
class StageFolder:
    """One stage as it lies on disk; nothing but its manifest is in memory.

    Attributes:
        path: of the folder.
        manifest: as in `txray.Stage`.
        fingerprint: of the manifest, which holds the checksums of all tables: another stage has another one.
        seen: what the file system told of the manifest when it was read.
        held: layers read before.
    """

    path: Path
    manifest: Mapping[str, Any]
    fingerprint: str
    seen: tuple[int, int, int]
    held: LRUCache = field(repr=False)
    _vocabularies: dict[str, Vocabulary] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, path: Path | str, held: LRUCache | None = None) -> StageFolder:
        """Read the manifest.

        Args:
            path: of the folder.
            held: shared by all stages of a library.

        Raises:
            StageError: missing, unfinished, damaged, or of another format.
        """
        place = Path(path)
        manifest = read_manifest(place)
        try:
            # They become names of files, here and in the cache.
            require_names(manifest["name"], manifest["features"])
        except UsageError as error:
            raise StageError(f"{place / MANIFEST}: {error}") from error
        digest = hashlib.sha256((place / MANIFEST).read_bytes()).hexdigest()[:20]
        return cls(place, manifest, digest, _seen(place), held or LRUCache(LAYERS_HELD))

    @property
    def name(self) -> str:
        """Of the stage."""
        return str(self.manifest["name"])

    @cached_property
    def layers(self) -> Mapping[str, int]:
        """Layer -> neurons, in the order of collection."""
        return dict(self.manifest["neurons"])

    @cached_property
    def starts(self) -> Mapping[str, int]:
        """Layer -> place of its first neuron among all neurons of all layers."""
        places = accumulate(self.layers.values(), initial=0)
        return dict(zip(self.layers, places, strict=False))

    @property
    def feature_types(self) -> tuple[str, ...]:
        """The feature types."""
        return tuple(self.manifest["features"])

    @property
    def changed(self) -> str:
        """What happened to the folder since it was opened, in words; empty where nothing did."""
        try:
            now = _seen(self.path)
        except OSError:
            return f"stage folder {self.path} is gone; put it back, or collect the stage again"
        return "" if now == self.seen else f"stage folder {self.path} has changed on disk"

    def vocabulary(self, feature_type: str) -> Vocabulary:
        """Features of a kind and their counts in the corpus."""
        if feature_type not in self._vocabularies:
            self._vocabularies[feature_type] = self._read(
                lambda: read_vocabulary(self.path, self.manifest, feature_type)
            )
        return self._vocabularies[feature_type]

    def preferences(self, layer: str, feature_type: str) -> Preferences:
        """The preferences of one layer.

        Raises:
            UnknownNameError: no such layer or feature.
            StageError: the folder has changed, is gone or damaged.
        """
        if layer not in self.layers:
            raise UnknownNameError.of(f"layer of stage {self.name!r}", layer, self.layers)
        if feature_type not in self.feature_types:
            raise UnknownNameError.of(f"feature of stage {self.name!r}", feature_type, self.feature_types)
        vocabulary = self.vocabulary(feature_type)
        return self.held.get(
            (self.fingerprint, layer, feature_type),
            lambda: self._read(lambda: read_layer(self.path, self.manifest, layer, feature_type, vocabulary)),
            # Its totals are kept with it.
            lambda read: 2 * ROW_BYTES * len(read.fold),
        )

    def neuron(self, layer: str, feature_type: str, neuron: int) -> Preferences:
        """The preferences of one layer in which all other neurons seem un-preferred; much quicker than all of it.

        Raises:
            StageError: the folder has changed, is gone or damaged.
        """
        vocabulary = self.vocabulary(feature_type)
        return self._read(
            lambda: read_layer(self.path, self.manifest, layer, feature_type, vocabulary, neuron)
        )

    def exemplars(self, layer: str, neuron: int) -> pl.DataFrame:
        """The strongest occurrences of one neuron, the strongest first; columns as in `EXEMPLAR_SCHEMA`."""
        of_neuron = (pl.col("layer") == layer) & (pl.col("neuron") == neuron)
        table = self._read(
            lambda: pl.scan_parquet(self.path / "exemplars.parquet").filter(of_neuron).sort("rank").collect()
        )
        missing = [
            pl.lit(None, dtype).alias(name) for name, dtype in EXEMPLAR_SCHEMA.items() if name not in table
        ]
        return table.with_columns(missing)

    def tags(self) -> pl.DataFrame:
        """Which tags each token carried; columns as in `TAG_SCHEMA`."""
        return self.held.get(
            (self.fingerprint, "tags"),
            lambda: self._read(lambda: pl.read_parquet(self.path / "tags.parquet").select(*TAG_SCHEMA)),
            lambda table: int(table.estimated_size()),
        )

    def _read(self, read: Callable[[], Value]) -> Value:
        """What is read, if the folder is still the one that was opened, before and after."""
        self._require_unchanged()
        try:
            value = read()
        except (LookupError, TypeError, ValueError, OSError, TxrayError, pl.exceptions.PolarsError) as error:
            self._require_unchanged()
            told = in_one_line(error)
            raise StageError(
                f"stage folder {self.path}: cannot be read ({told}); collect the stage again"
            ) from error
        self._require_unchanged()
        return value

    def _require_unchanged(self) -> None:
        if self.changed:
            raise StageError(f"{self.changed}; load it again")


def _seen(place: Path) -> tuple[int, int, int]:
    told = (place / MANIFEST).stat()
    return told.st_mtime_ns, told.st_size, told.st_ino


class StageCatalog:
    """The stages that are served, in order, each of its own name."""

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
        self._held = LRUCache(LAYERS_HELD)
        self._stages = [StageFolder.open(folder, self._held) for folder in folders]
        self.revision = 0
        names = [stage.name for stage in self._stages]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            places = ", ".join(str(stage.path) for stage in self._stages if stage.name == twice[0])
            raise UsageError(
                f"dashboard: several stages are named {twice[0]!r} ({places}); serve one of them, or collect under "
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
        """Of the stages, in order."""
        return [stage.name for stage in self._stages]

    @property
    def feature_types(self) -> list[str]:
        """Every feature type of any stage."""
        return list(
            dict.fromkeys(feature_type for stage in self._stages for feature_type in stage.feature_types)
        )

    @property
    def layers(self) -> list[str]:
        """Every layer of any stage."""
        return list(dict.fromkeys(layer for stage in self._stages for layer in stage.layers))

    def changes(self) -> list[str]:
        """What happened to the folders since they were opened, in words."""
        return [stage.changed for stage in self._stages if stage.changed]

    def reload(self) -> list[str]:
        """Open again what has changed; returns what cannot be opened, in words, and keeps that as it was."""
        problems = []
        for index, stage in enumerate(self._stages):
            if not stage.changed:
                continue
            try:
                new = StageFolder.open(stage.path, self._held)
            except (StageError, OSError) as error:
                problems.append(str(error))
                continue
            others = {other.name for other in self._stages if other is not stage}
            if new.name in others:
                problems.append(
                    f"stage folder {stage.path} now holds a stage {new.name!r}, which another one is named"
                )
                continue
            self._stages[index] = new
        self.revision += 1
        return problems
