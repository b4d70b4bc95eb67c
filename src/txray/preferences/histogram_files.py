"""Files of histograms in a stage folder.

histograms.<type>.parquet   layer, group, feature, block, neuron, counts: bins of activations per concept
bins.parquet                layer, neuron, edges: bounds of these bins
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.io.plugins import register_io_source

from txray.preferences.histograms import BINS, CONTROL_GROUPS, ConceptHistograms

EDGES_FILE = "bins.parquet"
_CONCEPT, _OTHERS, _CONTROL = "concept", "others", "control"

_SCHEMA: dict[str, pl.DataType] = {
    "layer": pl.String(),
    "group": pl.String(),
    "feature": pl.String(),
    "block": pl.UInt16(),
    "neuron": pl.UInt32(),
    "counts": pl.Array(pl.UInt32(), BINS),
}

Histograms = Mapping[tuple[str, str], ConceptHistograms]
"""(layer, feature type) -> histograms."""


class HistogramFolder(Mapping[tuple[str, str], ConceptHistograms]):
    """Histograms of a stage folder, read when they are asked for: they are large."""

    def __init__(self, folder: Path, manifest: Mapping[str, Any], read: Callable[..., Any]) -> None:
        """Describe a folder.

        Args:
            folder: of the stage.
            manifest: of the stage.
            read: calls a function that reads files, and checks that the folder has not changed.
        """
        self._folder = folder
        self._name = manifest["name"]
        self._keys = [(layer, kind) for kind in manifest.get("concepts", {}) for layer in manifest["neurons"]]
        self._read = read

    def __getitem__(self, key: tuple[str, str]) -> ConceptHistograms:
        if key not in self._keys:
            raise KeyError(key)
        histograms: ConceptHistograms = self._read(lambda: self._histograms(*key))
        return histograms

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy the histograms themselves: to another process, or machine, that may not have the folder."""
        return dict, (dict(self),)

    def _histograms(self, layer: str, feature_type: str) -> ConceptHistograms:
        edges = pl.scan_parquet(self._folder / EDGES_FILE).filter(layer=layer).sort("neuron").collect()
        rows = pl.scan_parquet(file_of(self._folder, feature_type)).filter(layer=layer).collect()
        features = rows.filter(group=_CONCEPT)["feature"].unique().sort().to_list()
        n_neurons, blocks = len(edges), int(rows["block"].max() or 0) + 1  # type: ignore[arg-type]
        counts = np.zeros((blocks, len(features) + 1, n_neurons, BINS), np.uint32)
        controls = np.zeros((CONTROL_GROUPS, n_neurons, BINS), np.uint32)
        index = {feature: i for i, feature in enumerate(features)}
        for (group, feature), part in rows.group_by("group", "feature"):
            values = part["counts"].to_numpy()
            neuron = part["neuron"].to_numpy()
            if group == _CONTROL:
                controls[int(str(feature)), neuron] = values
            else:
                row = len(features) if group == _OTHERS else index[feature]
                counts[part["block"].to_numpy(), row, neuron] = values
        names = np.array(features, object)
        bounds = edges["edges"].to_numpy().astype(np.float32)
        return ConceptHistograms(self._name, layer, feature_type, names, bounds, counts, controls)


def file_of(folder: Path, feature_type: str) -> Path:
    """Return the file with the histograms of a feature type."""
    return folder / f"histograms.{feature_type}.parquet"


def write_histograms(histograms: Histograms, folder: Path) -> None:
    """Write the files of all histograms, one layer at a time; none if there are no histograms."""
    bounds: dict[str, NDArray[np.float32]] = {}
    for feature_type in dict.fromkeys(feature_type for _, feature_type in histograms):
        layers = [layer for layer, kind in histograms if kind == feature_type]

        def parts(*_: object, kind: str = feature_type, layers: list[str] = layers) -> Iterator[pl.DataFrame]:
            for layer in layers:
                of_layer = histograms[layer, kind]
                bounds[layer] = of_layer.edges
                yield from _tables(of_layer)

        source = register_io_source(parts, schema=_SCHEMA)
        source.sink_parquet(file_of(folder, feature_type), compression="zstd", maintain_order=True)
    if bounds:
        schema = {"layer": pl.String(), "neuron": pl.UInt32(), "edges": pl.Array(pl.Float32(), BINS - 1)}
        tables = [
            pl.DataFrame({"layer": [layer] * len(e), "neuron": np.arange(len(e)), "edges": e}, schema=schema)
            for layer, e in bounds.items()
        ]
        pl.concat(tables).write_parquet(folder / EDGES_FILE)


def _tables(histograms: ConceptHistograms) -> Iterator[pl.DataFrame]:
    """Yield the rows of one layer; the blocks in which a concept does not occur have none."""
    features = histograms.features.tolist()
    for i, feature in enumerate([*features, ""]):
        group = _CONCEPT if i < len(features) else _OTHERS
        for block in range(len(histograms.counts)):
            counts = histograms.counts[block, i]
            # One row at least tells the number of blocks, and of every concept that it was looked for.
            if counts.any() or block == len(histograms.counts) - 1:
                yield _table(histograms.layer, group, feature, block, counts)
    for number, counts in enumerate(histograms.controls):
        if counts.any():
            yield _table(histograms.layer, _CONTROL, str(number), 0, counts)


def _table(layer: str, group: str, feature: str, block: int, counts: NDArray[np.uint32]) -> pl.DataFrame:
    n = len(counts)
    return pl.DataFrame(
        {
            "layer": [layer] * n,
            "group": [group] * n,
            "feature": [feature] * n,
            "block": np.full(n, block),
            "neuron": np.arange(n),
            "counts": counts,
        },
        schema=_SCHEMA,
    )
