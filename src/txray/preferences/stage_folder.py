"""A stage folder that is read on demand, layer by layer, and notices when it changes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from txray.errors import StageError, TxrayError, UsageError, in_one_line
from txray.files import sha256_of
from txray.lru_cache import LRUCache
from txray.preferences.discovery import require_stage_folder
from txray.preferences.documents import as_documents
from txray.preferences.exemplars import EXEMPLAR_SCHEMA, as_exemplars
from txray.preferences.histogram_files import HistogramFolder
from txray.preferences.manifest import MANIFEST, read_manifest
from txray.preferences.output_tokens import OUTPUT_TOKEN_SCHEMA, OUTPUT_TOKENS, as_output_tokens
from txray.preferences.preferences import ROW_BYTES, Preferences, require_neuron
from txray.preferences.scales import SCALE_SCHEMA
from txray.preferences.stage_access import StageAccess
from txray.preferences.store import (
    DOCUMENTS,
    Vocabulary,
    complete_rows,
    preferences_from,
    read_vocabulary,
    runner_up_file,
)
from txray.preferences.tags import TAG_SCHEMA

CACHE_BYTES = 256 << 20
"""Memory for the layers that were used last."""

DAMAGE = (
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    OSError,
    RecursionError,
    TxrayError,
    pl.exceptions.PolarsError,
)
"""Errors of reading files that are intact and yet do not hold what was written."""

Value = TypeVar("Value")


@dataclass(frozen=True, eq=False, repr=False)
class StageFolder(StageAccess):
    """One stage on disk: only its manifest is in memory, tables are read when they are asked for.

    It is read like a `Stage`: `name`, `layers`, `feature_types`, `manifest`, `preferences`, `neuron`, `tags`.

    Attributes:
        path: of the folder.
        manifest: as in `Stage`.
        fingerprint: hash of the manifest, which holds the checksums of all tables: it differs between stages.
        version: modification time, size and inode of the manifest when it was opened.
        cache: the layers that were used last.

    Example:
        >>> folder = StageFolder.open("stages/sup")  # doctest: +SKIP
        >>> folder.preferences(layer="rnn").lengths()  # doctest: +SKIP
    """

    path: Path
    manifest: Mapping[str, Any]
    fingerprint: str
    version: tuple[int, int, int]
    cache: LRUCache
    _vocabularies: dict[str, Vocabulary] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path | str, cache: LRUCache | None = None) -> StageFolder:
        """Read the manifest.

        Args:
            path: of the folder.
            cache: shared with other stage folders; one of its own by default.

        Raises:
            UsageError: not a path.
            StageError: missing, unfinished, damaged, of another format, or a folder of several stages.
        """
        if not isinstance(path, (str, os.PathLike)):
            raise UsageError(
                f"a stage folder is named by its path, not by a {type(path).__name__} ({path!r:.60})"
            )
        folder = Path(path)
        require_stage_folder(folder)
        manifest = read_manifest(folder)
        digest = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()[:20]
        return cls(folder, manifest, digest, _version(folder), cache or LRUCache(CACHE_BYTES))

    @cached_property
    def name(self) -> str:
        """Name of the stage."""
        return str(self.manifest["name"])

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in the order of collection."""
        return tuple(self.manifest["neurons"])

    @property
    def feature_types(self) -> tuple[str, ...]:
        """The feature types, in the order of collection."""
        return tuple(self.manifest["features"])

    @cached_property
    def n_neurons(self) -> Mapping[str, int]:
        """Number of neurons per layer."""
        return dict(self.manifest["neurons"])

    @cached_property
    def starts(self) -> Mapping[str, int]:
        """Index of the first neuron of each layer among the neurons of all layers."""
        return dict(zip(self.layers, accumulate(self.n_neurons.values(), initial=0), strict=False))

    @property
    def changed(self) -> str:
        """Message about a change of the folder since it was opened; empty if there was none."""
        try:
            version = _version(self.path)
        except OSError:
            return f"stage folder {self.path} is gone; put it back, or collect the stage again"
        return "" if version == self.version else f"stage folder {self.path} has changed on disk"

    def vocabulary(self, feature_type: str) -> Vocabulary:
        """Return the features of one type, sorted, and their counts in the corpus per fold."""
        if feature_type not in self._vocabularies:
            self._feature_type(feature_type)
            self._vocabularies[feature_type] = self._read(lambda: self._read_vocabulary(feature_type))
        return self._vocabularies[feature_type]

    def preferences_of_neuron(
        self, number: int, *, layer: str | None = None, feature_type: str = "token"
    ) -> Preferences:
        """Return preferences in which all other neurons seem un-preferred, much faster than those of the whole layer.

        Args:
            number: index of the neuron in its layer.
            layer, feature_type: as for `preferences`.

        Raises:
            UsageError: no such neuron, or several layers and none named.
            StageError: the folder has changed, is gone or damaged.
        """
        layer = self._layer(layer)
        require_neuron(number, self.n_neurons[layer], stage=self.name, layer=layer)
        return self._neuron_preferences(number, layer, self._feature_type(feature_type))

    def exemplars_of_neuron(self, number: int, *, layer: str | None = None) -> pl.DataFrame:
        """Return the strongest occurrences of one neuron, the strongest first; columns as in `Stage.exemplars`."""
        return self._neuron_exemplars(number, self._layer(layer))

    def rows(self, layer: str, feature_type: str, **equal: int) -> pl.DataFrame:
        """Return rows of the file of preferences, without reading the others.

        Args:
            layer, feature_type: of the rows.
            equal: further columns and their value, such as `fold=3` or `neuron=13`.
        """
        file = self._row_file(feature_type)
        return self._read(
            lambda: complete_rows(file, pl.scan_parquet(file).filter(layer=layer, **equal).collect())
        )

    def runner_up_rows(self, layer: str, feature_type: str, **equal: int) -> pl.DataFrame | None:
        """Return rows of the file of runner-ups; None if the layer has none; arguments as for `rows`."""
        file = self.path / runner_up_file(feature_type)
        if not self._has_runner_ups(layer, feature_type):
            return None
        return self._read(
            lambda: complete_rows(file, pl.scan_parquet(file).filter(layer=layer, **equal).collect())
        )

    @property
    def exemplars(self) -> pl.DataFrame:
        """The strongest occurrences of all neurons, read anew each time; columns as in `Stage.exemplars`."""
        return self._read(lambda: as_exemplars(pl.read_parquet(self.path / "exemplars.parquet")))

    @property
    def tags(self) -> pl.DataFrame:
        """The tags that each token carried; columns as in `Stage.tags`."""
        return self.cache.get(
            (self.fingerprint, "tags"),
            lambda: self._read(lambda: pl.read_parquet(self.path / "tags.parquet").select(*TAG_SCHEMA)),
            lambda table: int(table.estimated_size()),
        )

    @property
    def documents(self) -> pl.DataFrame:
        """Hashes of the texts and groups that were read, read anew each time; columns as in `Stage.documents`."""
        return self._read(lambda: as_documents(pl.read_parquet(self.path / DOCUMENTS)))

    @property
    def output_tokens(self) -> pl.DataFrame:
        """Return the tokens that each neuron promotes and suppresses; columns as in `Stage.output_tokens`."""
        if OUTPUT_TOKENS not in self.manifest["checksums"]:
            return pl.DataFrame(schema=OUTPUT_TOKEN_SCHEMA)
        return self._read(lambda: as_output_tokens(pl.read_parquet(self.path / OUTPUT_TOKENS)))

    @property
    def histograms(self) -> HistogramFolder:
        """Return activations in bins by concept, each read when it is asked for."""
        return HistogramFolder(self.path, self.manifest, self._read)

    def contents(self, *, rows: bool = True) -> dict[str, Any]:
        """Return the fields of a `Stage`, after comparing all files with their checksums.

        Args:
            rows: False leaves out rows and exemplars, which are nearly everything: all neurons seem un-preferred.

        Raises:
            StageError: a file is missing or damaged.
        """
        for name, expected in self.manifest["checksums"].items():
            file = self.path / name
            if not file.is_file():
                raise StageError(f"stage folder {self.path}: {name} is missing; collect the stage again")
            if sha256_of(file) != expected:
                raise StageError(
                    f"stage folder {self.path}: {name} is damaged (checksum differs); collect the stage again"
                )
        return self._read(lambda: self._contents(rows))

    def _contents(self, rows: bool) -> dict[str, Any]:
        collected: dict[tuple[str, str], Preferences] = {}
        for feature_type in self.feature_types:
            file = self._row_file(feature_type)
            # One pass over the file for all layers.
            table = complete_rows(file, pl.read_parquet(file, n_rows=None if rows else 0))
            vocabulary = self._read_vocabulary(feature_type)
            others = self.path / runner_up_file(feature_type)
            has_others = others.name in self.manifest["checksums"]
            runner_ups = (
                complete_rows(others, pl.read_parquet(others, n_rows=None if rows else 0))
                if has_others
                else None
            )
            for layer in self.layers:
                of_layer = table.filter(layer=layer)
                collected[layer, feature_type] = preferences_from(
                    self.manifest,
                    layer,
                    feature_type,
                    vocabulary,
                    of_layer,
                    runner_ups.filter(layer=layer)
                    if runner_ups is not None and self._has_runner_ups(layer, feature_type)
                    else None,
                )
        # Cast, so that columns of another type are noticed now and not where they are used.
        tags, scales = (
            pl.read_parquet(self.path / f"{name}.parquet").cast(schema)  # type: ignore[arg-type]
            for name, schema in (("tags", TAG_SCHEMA), ("scales", SCALE_SCHEMA))
        )
        return {
            "name": self.name,
            "collected": collected,
            "exemplars": self.exemplars if rows else pl.DataFrame(schema=EXEMPLAR_SCHEMA),
            "manifest": self.manifest,
            "tags": tags,
            "scales": scales,
            "documents": self.documents,
            "output_tokens": self.output_tokens,
            "histograms": self.histograms,
        }

    def _read_vocabulary(self, feature_type: str) -> Vocabulary:
        return read_vocabulary(self.path / f"features.{feature_type}.parquet", self.manifest["folds"])

    def _preferences(self, layer: str, feature_type: str) -> Preferences:
        return self.cache.get(
            (self.fingerprint, layer, feature_type),
            lambda: self._read_preferences(layer, feature_type),
            # Its totals are cached with it.
            lambda preferences: (
                ROW_BYTES
                * (
                    2 * len(preferences.fold)
                    + (0 if preferences.runner_ups is None else len(preferences.runner_ups))
                )
            ),
        )

    def _neuron_preferences(self, number: int, layer: str, feature_type: str) -> Preferences:
        return self._read_preferences(layer, feature_type, neuron=number)

    def _read_preferences(self, layer: str, feature_type: str, **equal: int) -> Preferences:
        vocabulary = self.vocabulary(feature_type)
        rows = self.rows(layer, feature_type, **equal)
        runner_ups = None if equal else self.runner_up_rows(layer, feature_type)
        return self._read(
            lambda: preferences_from(self.manifest, layer, feature_type, vocabulary, rows, runner_ups)
        )

    def _has_runner_ups(self, layer: str, feature_type: str) -> bool:
        return layer in self.manifest.get("runner_ups", {}).get(feature_type, ())

    def _layer_output_tokens(self, layer: str) -> pl.DataFrame:
        return self.cache.get(
            (self.fingerprint, layer, OUTPUT_TOKENS),
            lambda: self.output_tokens.filter(layer=layer),
            lambda table: int(table.estimated_size()),
        )

    def _neuron_exemplars(self, number: int, layer: str) -> pl.DataFrame:
        scan = pl.scan_parquet(self.path / "exemplars.parquet").filter(layer=layer, neuron=number)
        table = self._read(lambda: scan.sort("rank").collect())
        missing = [
            pl.lit(None, dtype).alias(name) for name, dtype in EXEMPLAR_SCHEMA.items() if name not in table
        ]
        return table.with_columns(missing)

    def _row_file(self, feature_type: str) -> Path:
        return self.path / f"preferences.{feature_type}.parquet"

    def _read(self, read: Callable[[], Value]) -> Value:
        """Return what `read` returns, if the folder is still the one that was opened, before and after."""
        self._require_unchanged()
        try:
            value = read()
        except DAMAGE as error:
            self._require_unchanged()
            if isinstance(error, StageError):
                raise
            raise StageError(
                f"stage folder {self.path}: cannot be read ({in_one_line(error)}); collect the stage again"
            ) from error
        self._require_unchanged()
        return value

    def _require_unchanged(self) -> None:
        if self.changed:
            raise StageError(f"{self.changed}; load it again")


def _version(folder: Path) -> tuple[int, int, int]:
    stat = (folder / MANIFEST).stat()
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
