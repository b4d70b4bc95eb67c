"""Results that take longer than a click: made once, by a process of their own, and kept as files."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from txray.analysis import compare, match, with_significance
from txray.analysis.comparison import same_documents
from txray.errors import PowerWarning, StageError, UsageError
from txray.files import sha256_of
from txray.plots.text import visible
from txray.preferences import Preferences, StageFolder
from txray.preferences.preferences import Weight
from txray.web.dashboard.cache import read_result, write_result
from txray.web.dashboard.results import FALSE_MATCHES

NAMED = 5
"""Features named per neuron and stage."""
POSTINGS = 1 << 16
"""Rows of postings that are read together."""

Advance = Callable[[int, int], None]
"""Told how many parts are done, of how many."""


def digest(
    neurons: Path, postings: Path, stage: str, feature_type: str, weight: Weight, advance: Advance
) -> None:
    """One row per neuron of a stage, and one per preferred feature of each neuron, to find neurons by feature.

    Args:
        neurons: the file of the first; written last, so that it tells that both are there.
        postings: the file of the second, sorted by feature.
        stage: its folder.
        kind: the feature type.
        weight: what distributions normalise.
        advance: told of every layer.

    Raises:
        StageError: a table of the stage is damaged.
    """
    folder = StageFolder.open(stage)
    _check(folder, feature_type)
    names = pl.Series(folder.vocabulary(feature_type)[0].tolist(), dtype=pl.String)
    shown = pl.Series(list(map(visible, names)), dtype=pl.String)
    rows, found = [], []
    for number, layer in enumerate(folder.layers):
        preferences = folder.preferences(layer=layer, feature_type=feature_type)
        lifted = preferences.lift()
        rows.append(_neurons(preferences, weight, lifted, names, shown))
        found.append(_postings(preferences, weight, lifted, number))
        advance(number + 1, len(folder.layers))
    table = pl.concat(found)
    # Stable, and rows come layer by layer and neuron by neuron: they stay so for each feature.
    table = table[np.argsort(table["feature_id"].to_numpy(), kind="stable")]
    table = table.with_columns(feature=names.gather(table["feature_id"])).drop("feature_id")
    write_result(postings, table, rows=POSTINGS)
    write_result(neurons, pl.concat(rows))


def _check(folder: StageFolder, feature_type: str) -> None:
    for name in (
        f"preferences.{feature_type}.parquet",
        f"features.{feature_type}.parquet",
        "exemplars.parquet",
    ):
        file = folder.path / name
        if not file.is_file() or sha256_of(file) != folder.manifest["checksums"][name]:
            raise StageError(
                f"stage folder {folder.path}: {name} is missing or damaged (checksum differs); collect the stage again"
            )


def _neurons(
    preferences: Preferences, weight: Weight, lifted: NDArray[np.float64], names: pl.Series, shown: pl.Series
) -> pl.DataFrame:
    totals = preferences.totals
    weights = totals.weights(weight)
    heaviest = _leading(preferences, totals.sum, totals.sum > 0, 1)
    return pl.DataFrame(
        {
            "layer": pl.Series([preferences.layer], dtype=pl.String).new_from_index(0, preferences.n_neurons),
            "neuron": np.arange(preferences.n_neurons, dtype=np.uint32),
            "length": preferences.lengths().astype(np.uint32),
            "wins": preferences.wins(),
            "mass": preferences.mass(),
            "top": _lists(preferences, heaviest, names).list.first(),
            "strongest": _lists(preferences, _leading(preferences, weights, weights > 0, NAMED), shown),
            "beyond": _lists(preferences, _leading(preferences, lifted, lifted > 1, NAMED), shown),
        }
    )


def _leading(
    preferences: Preferences, value: NDArray[np.float64], kept: NDArray[np.bool_], most: int
) -> NDArray[np.int64]:
    """Rows of `totals`: of every neuron those of the largest values, the largest first, ties by feature."""
    neuron = preferences.totals.neuron
    order = np.lexsort((-value, neuron))
    starts = np.searchsorted(neuron, np.arange(preferences.n_neurons))
    rank = np.arange(len(order)) - starts[neuron[order]]
    return np.asarray(order[(rank < most) & kept[order]], np.int64)


def _lists(preferences: Preferences, rows: NDArray[np.int64], names: pl.Series) -> pl.Series:
    """(n_neurons,) lists of names of some rows of `totals`, which stand neuron by neuron."""
    totals = preferences.totals
    chosen = pl.DataFrame({"neuron": totals.neuron[rows], "name": names.gather(totals.feature_id[rows])})
    grouped = chosen.group_by("neuron", maintain_order=True).agg("name")
    every = pl.DataFrame({"neuron": np.arange(preferences.n_neurons)})
    return every.join(grouped, on="neuron", how="left", maintain_order="left")["name"].fill_null([])


def _postings(
    preferences: Preferences, weight: Weight, lifted: NDArray[np.float64], layer: int
) -> pl.DataFrame:
    totals = preferences.totals
    weights = totals.weights(weight)
    total = np.bincount(totals.neuron, weights, preferences.n_neurons).astype(np.float64)[totals.neuron]
    return pl.DataFrame(
        {
            "feature_id": totals.feature_id.astype(np.uint32),
            "layer": np.full(len(totals.neuron), layer, np.uint16),
            "neuron": totals.neuron.astype(np.uint32),
            "count": totals.count.astype(np.uint32),
            "mass": totals.sum.astype(np.float32),
            "probability": _share(weights, total).astype(np.float32),
            "lift": lifted.astype(np.float32),
        }
    )


def _share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def pair(
    out: Path,
    before: str,
    after: str,
    feature_type: str,
    weight: Weight,
    digests: tuple[str, str],
    advance: Advance,
) -> None:
    """Compare two stages, layer by layer: one row per neuron of every layer that both have.

    Args:
        out: the file.
        before, after: folders of the stages.
        kind: the feature type.
        weight: what distributions normalise.
        digests: of the two stages, files of `digest`.
        advance: told of every layer.
    """
    sides = StageFolder.open(before), StageFolder.open(after)
    layers = shared_layers(*sides)
    if not layers:
        raise UsageError(
            f"stages {sides[0].name!r} and {sides[1].name!r} have no layer of the same size and selection in common; "
            "match their neurons instead"
        )
    tables = []
    for number, layer in enumerate(layers):
        first, second = (side[layer, feature_type] for side in sides)
        found = compare(first, second, weight=weight)
        tables.append(
            found.neurons.drop("hellinger_published_code").with_columns(
                pl.lit(layer).alias("layer"), pl.col("neuron").cast(pl.UInt32)
            )
        )
        advance(number + 1, len(layers))
    table = pl.concat(tables)
    for side, file in zip(("before", "after"), digests, strict=True):
        named = read_result(Path(file)).select("layer", "neuron", "strongest", "beyond")
        named = named.rename({name: f"{name}_{side}" for name in ("strongest", "beyond")})
        table = table.join(named, on=["layer", "neuron"], how="left", maintain_order="left")
    write_result(out, table.select("layer", pl.exclude("layer")))


def shared_layers(before: StageFolder, after: StageFolder) -> list[str]:
    """Layers that both have, with the same neurons and collected in the same way."""
    same = [manifest["selections"] for manifest in (before.manifest, after.manifest)]
    return [
        layer
        for layer, neurons in before.n_neurons.items()
        if after.n_neurons.get(layer) == neurons and same[0][layer] == same[1][layer]
    ]


TESTED = (
    "distance_matched",
    "distance_null",
    "q_value",
    "z_score",
    "signal",
    "hellinger_corrected",
    "hellinger_corrected_low",
    "hellinger_corrected_high",
    "noise_floor",
    "rate_q_value",
    "rarefied_length_before",
    "rarefied_length_after",
    "confident_state",
)
"""Columns that tests add."""


def tests(
    out: Path,
    before: str,
    after: str,
    layer: str,
    feature_type: str,
    weight: Weight,
    level: float,
    permutations: int,
    advance: Advance,
) -> None:
    """What is more than chance, for one layer: one row per neuron, with the columns `TESTED`.

    Args:
        out: the file; what the tests warn of is its note.
        before, after: folders of the stages.
        layer: which.
        kind: the feature type.
        weight: what distributions normalise.
        level: false-discovery rate.
        permutations: of a neuron at most.
        advance: told when it is done.
    """
    sides = StageFolder.open(before), StageFolder.open(after)
    first, second = (side[layer, feature_type] for side in sides)
    found = compare(first, second, weight=weight)
    found = replace(found, documents=same_documents(*(side.manifest for side in sides)))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", PowerWarning)
        tested = with_significance(found, level=level, permutations=permutations)
    note = "; ".join(str(one.message) for one in warned if issubclass(one.category, PowerWarning))
    write_result(out, tested.neurons.select(*TESTED), note)
    advance(1, 1)


def matching(
    out: Path,
    before: str,
    after: str,
    layer_before: str,
    layer_after: str,
    feature_type: str,
    weight: Weight,
    digests: tuple[str, str],
    advance: Advance,
) -> None:
    """Match the neurons of two layers: the pairs, as in `txray.Matching.pairs`, with what each side prefers.

    Args:
        out: the file.
        before, after: folders of the stages.
        layer_before, layer_after: which.
        kind: the feature type.
        weight: what distributions normalise.
        digests: of the two stages, files of `digest`.
        advance: told when it is done.
    """
    sides = StageFolder.open(before), StageFolder.open(after)
    found = match(
        sides[0].preferences(layer=layer_before, feature_type=feature_type),
        sides[1].preferences(layer=layer_after, feature_type=feature_type),
        weight=weight,
        level=FALSE_MATCHES,
    )
    table = found.pairs.with_columns(pl.col("before", "after").cast(pl.UInt32))
    for side, layer, file in zip(("before", "after"), (layer_before, layer_after), digests, strict=True):
        named = (
            read_result(Path(file))
            .filter(pl.col("layer") == layer)
            .select(
                pl.col("neuron").alias(side),
                *(pl.col(name).alias(f"{name}_{side}") for name in ("beyond", "wins")),
            )
        )
        table = table.join(named, on=side, how="left", maintain_order="left")
    curve = found.curve()
    write_result(out.with_name(f"{out.stem}-curve.parquet"), curve)
    write_result(out, table, f"{found.matched_share!r}")
    advance(1, 1)


WORK: Mapping[str, Callable[..., None]] = {
    "digest": digest,
    "pair": pair,
    "tests": tests,
    "matching": matching,
}
"""What the process can be asked for."""
