"""Tasks that take longer than a click: each writes one result into a file of the cache."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from txray.analysis import compare, match
from txray.analysis.subjects import same_documents, text_facts
from txray.errors import DocumentLengthWarning, PowerWarning, StageError, UsageError
from txray.files import sha256_of
from txray.plots.features import leading_rows
from txray.plots.text import sanitize
from txray.preferences import Preferences, StageFolder
from txray.preferences.preferences import Weight
from txray.web.dashboard.cache import read_result, write_result
from txray.web.dashboard.results import FALSE_MATCH_RATE

NAMED = 5
"""Features named per neuron and stage."""
INDEX_ROWS = 1 << 16
"""Rows per row group of the feature index, which are read together."""

Advance = Callable[[int, int], None]
"""Called with the number of parts that are done, and of all parts."""


def index_file(table: Path) -> Path:
    """Return the file of the feature index that belongs to a neuron table."""
    return table.with_name(f"{table.stem}-index.parquet")


def curve_file(pairs: Path) -> Path:
    """Return the file of the curve that belongs to the pairs of a matching."""
    return pairs.with_name(f"{pairs.stem}-curve.parquet")


def neuron_table(out: Path, stage: str, feature_type: str, weight: Weight, advance: Advance) -> None:
    """Write one row per neuron of a stage folder, and beside it the index by which neurons are found by feature.

    The index (`index_file`) is written first, so that both exist if `out` does; `advance` is called after each layer.

    Raises:
        StageError: a table of the stage is damaged.
    """
    folder = StageFolder.open(stage)
    _check(folder, feature_type)
    names = pl.Series(folder.vocabulary(feature_type)[0].tolist(), dtype=pl.String)
    shown = pl.Series(list(map(sanitize, names)), dtype=pl.String)
    rows, index = [], []
    for number, layer in enumerate(folder.layers):
        preferences = folder.preferences(layer=layer, feature_type=feature_type)
        lifts = preferences.lift()
        rows.append(_neurons(preferences, weight, lifts, names, shown))
        index.append(_feature_index(preferences, weight, lifts, number))
        advance(number + 1, len(folder.layers))
    table = pl.concat(index)
    # Stable: within a feature, rows stay in the order of layers and neurons.
    table = table[np.argsort(table["feature_id"].to_numpy(), kind="stable")]
    table = table.with_columns(feature=names.gather(table["feature_id"])).drop("feature_id")
    write_result(index_file(out), table, rows=INDEX_ROWS)
    write_result(out, pl.concat(rows))


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
    preferences: Preferences, weight: Weight, lifts: NDArray[np.float64], names: pl.Series, shown: pl.Series
) -> pl.DataFrame:
    totals = preferences.totals
    return pl.DataFrame(
        {
            "layer": pl.Series([preferences.layer], dtype=pl.String).new_from_index(0, preferences.n_neurons),
            "neuron": np.arange(preferences.n_neurons, dtype=np.uint32),
            "length": preferences.lengths().astype(np.uint32),
            "wins": preferences.wins(),
            "mass": preferences.mass(),
            "top": _lists(preferences, leading_rows(preferences, totals.sum, 1), names).list.first(),
            "strongest": _lists(preferences, leading_rows(preferences, totals.weights(weight), NAMED), shown),
            "beyond": _names(preferences, lifts, shown),
        }
    )


def _names(preferences: Preferences, lifts: NDArray[np.float64], shown: pl.Series) -> pl.Series:
    """Return (n_neurons,) lists of the most distinctive features, or of the note on names that do not hold."""
    notes = pl.Series([[note] for note in preferences.name_scores.notes], dtype=pl.List(pl.String))
    features = _lists(preferences, leading_rows(preferences, lifts, NAMED, above=1), shown)
    return pl.select(pl.when(notes.list.first() != "").then(notes).otherwise(features)).to_series()


def _lists(preferences: Preferences, rows: NDArray[np.int64], names: pl.Series) -> pl.Series:
    """Return (n_neurons,) lists of the names of some rows of `totals`, which are sorted by neuron."""
    totals = preferences.totals
    names_of_neuron = pl.DataFrame(
        {"neuron": totals.neuron[rows], "name": names.gather(totals.feature_id[rows])}
    )
    grouped = names_of_neuron.group_by("neuron", maintain_order=True).agg("name")
    every = pl.DataFrame({"neuron": np.arange(preferences.n_neurons)})
    return every.join(grouped, on="neuron", how="left", maintain_order="left")["name"].fill_null([])


def _feature_index(
    preferences: Preferences, weight: Weight, lifts: NDArray[np.float64], layer: int
) -> pl.DataFrame:
    totals = preferences.totals
    weights = totals.weights(weight)
    total = np.bincount(totals.neuron, weights, preferences.n_neurons).astype(np.float64)[totals.neuron]
    probability = np.divide(weights, total, out=np.zeros(len(weights)), where=total > 0)
    return pl.DataFrame(
        {
            "feature_id": totals.feature_id.astype(np.uint32),
            "layer": np.full(len(totals.neuron), layer, np.uint16),
            "neuron": totals.neuron.astype(np.uint32),
            "count": totals.count.astype(np.uint32),
            "mass": totals.sum.astype(np.float32),
            "probability": probability.astype(np.float32),
            "lift": lifts.astype(np.float32),
        }
    )


def comparison(
    out: Path,
    before: str,
    after: str,
    feature_type: str,
    weight: Weight,
    neuron_tables: tuple[str, str],
    advance: Advance,
) -> None:
    """Compare two stage folders, layer by layer: one row per neuron of every layer that both have.

    `neuron_tables` are files of `neuron_table`; `advance` is called after each layer.
    """
    stages = StageFolder.open(before), StageFolder.open(after)
    layers = shared_layers(*stages)
    if not layers:
        raise UsageError(
            f"stages {stages[0].name!r} and {stages[1].name!r} have no layer of the same size and selection in common; "
            "match their neurons instead"
        )
    tables = []
    for number, layer in enumerate(layers):
        first, second = (stage.preferences(layer=layer, feature_type=feature_type) for stage in stages)
        neurons = compare(first, second, weight=weight, permutations=0).neurons
        tables.append(
            neurons.drop("hellinger_published_code").with_columns(
                pl.lit(layer).alias("layer"), pl.col("neuron").cast(pl.UInt32)
            )
        )
        advance(number + 1, len(layers))
    table = pl.concat(tables)
    for side, file in zip(("before", "after"), neuron_tables, strict=True):
        names = read_result(Path(file)).select("layer", "neuron", "strongest", "beyond")
        names = names.rename({name: f"{name}_{side}" for name in ("strongest", "beyond")})
        table = table.join(names, on=["layer", "neuron"], how="left", maintain_order="left")
    write_result(out, table.select("layer", pl.exclude("layer")))


def shared_layers(before: StageFolder, after: StageFolder) -> list[str]:
    """Return the layers that both stages have, with as many neurons and the same selection."""
    selections = [stage.manifest["selections"] for stage in (before, after)]
    return [
        layer
        for layer, neurons in before.n_neurons.items()
        if after.n_neurons.get(layer) == neurons and selections[0][layer] == selections[1][layer]
    ]


_NOTED = (PowerWarning, DocumentLengthWarning)
"""Warnings of the tests that readers of the results need."""

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
    "displaced_by",
    "displaced_share",
    "displaced_q_value",
    "rarefied_length_before",
    "rarefied_length_after",
    "detectable",
    "min_effect",
    "confident_state",
)
"""Columns that the tests add."""


def significance(
    out: Path,
    before: str,
    after: str,
    layer: str,
    feature_type: str,
    weight: Weight,
    fdr: float,
    permutations: int,
    seed: int,
    min_effect: float,
    advance: Advance,
) -> None:
    """Test the neurons of one layer of two stage folders: one row per neuron, with the columns `TESTED`.

    Warnings of the tests are the note of the file.
    """
    stages = StageFolder.open(before), StageFolder.open(after)
    first, second = (stage.preferences(layer=layer, feature_type=feature_type) for stage in stages)
    untested = compare(first, second, weight=weight, permutations=0)
    summary = {**untested.summary, **text_facts(*stages)}
    untested = replace(untested, same_documents=same_documents(*stages), summary=summary)
    with warnings.catch_warnings(record=True) as caught:
        for category in _NOTED:
            warnings.simplefilter("always", category)
        tested = untested.test(fdr=fdr, permutations=permutations, seed=seed, min_effect=min_effect)
    note = "; ".join(str(warning.message) for warning in caught if issubclass(warning.category, _NOTED))
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
    neuron_tables: tuple[str, str],
    advance: Advance,
) -> None:
    """Match the neurons of two layers: the pairs, as in `txray.Matching.pairs`, with what each neuron prefers.

    The curve (`curve_file`) is written first, so that both exist if `out` does; `neuron_tables` are files of
    `neuron_table`.
    """
    stages = StageFolder.open(before), StageFolder.open(after)
    matches = match(
        stages[0].preferences(layer=layer_before, feature_type=feature_type),
        stages[1].preferences(layer=layer_after, feature_type=feature_type),
        weight=weight,
        false_match_rate=FALSE_MATCH_RATE,
    )
    table = matches.pairs.with_columns(pl.col("before", "after").cast(pl.UInt32))
    for side, layer, file in zip(
        ("before", "after"), (layer_before, layer_after), neuron_tables, strict=True
    ):
        of_layer = (
            read_result(Path(file))
            .filter(pl.col("layer") == layer)
            .select(
                pl.col("neuron").alias(side),
                *(pl.col(name).alias(f"{name}_{side}") for name in ("beyond", "wins")),
            )
        )
        table = table.join(of_layer, on=side, how="left", maintain_order="left")
    write_result(curve_file(out), matches.curve())
    write_result(out, table, f"{matches.matched_share!r}")
    advance(1, 1)


TASKS: Mapping[str, Callable[..., None]] = {
    "neuron_table": neuron_table,
    "comparison": comparison,
    "significance": significance,
    "matching": matching,
}
"""Name of each task -> the function that does it."""
