"""The stage folder: a manifest and Parquet tables that any tool can read.

    manifest.json               format, model, corpus, layers, selection, word accounting, checksums
    features.<type>.parquet     feature, fold, count: occurrences in the corpus
    preferences.<type>.parquet  layer, fold, neuron, feature, count, sum; sum_sq and max where count is above 1
    runner_ups.<type>.parquet   winner, and the columns of preferences: who would have been credited without it
    exemplars.parquet           the strongest occurrences of every neuron
    tags.parquet                token, pos, count: which tags each token carried
    scales.parquet              layer, neuron, mean, deviation: what activations were standardized with
    documents.parquet           kind, hash, words: which texts and groups were read
    output_tokens.parquet       the tokens that each neuron promotes and suppresses, if they were asked for
    histograms.<type>.parquet   activations in bins by concept, and bins.parquet, if concepts were asked for

A folder is complete or absent: it is written to a temporary sibling, synced and renamed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

from txray.arrays import Ints, Names
from txray.files import atomic_folder, sha256_of
from txray.preferences.documents import DOCUMENT_SCHEMA
from txray.preferences.exemplars import EXEMPLAR_SCHEMA
from txray.preferences.grouped_stats import STATISTICS
from txray.preferences.histogram_files import write_histograms
from txray.preferences.manifest import CHECKPOINT, FORMAT, MANIFEST
from txray.preferences.output_tokens import OUTPUT_TOKEN_SCHEMA, OUTPUT_TOKENS
from txray.preferences.preferences import Preferences
from txray.preferences.runner_ups import RunnerUps
from txray.preferences.scales import SCALE_SCHEMA
from txray.preferences.tags import TAG_SCHEMA

if TYPE_CHECKING:
    from txray.preferences.stage import Stage

DOCUMENTS = "documents.parquet"

_ROWS_PER_WRITE = 1 << 18

_ROW_SCHEMA: dict[str, pl.DataType] = {
    "layer": pl.String(),
    "fold": pl.UInt16(),
    "neuron": pl.UInt32(),
    "feature": pl.String(),
    "count": pl.Int64(),
    "sum": pl.Float64(),
    "sum_sq": pl.Float64(),
    "max": pl.Float64(),
}


_RUNNER_UP_SCHEMA: dict[str, pl.DataType] = {
    **{name: _ROW_SCHEMA[name] for name in ("layer", "fold")},
    "winner": pl.UInt32(),
    **{name: dtype for name, dtype in _ROW_SCHEMA.items() if name not in ("layer", "fold")},
}

_OF_ONE = {"sum_sq": pl.col("sum") * pl.col("sum"), "max": pl.col("sum")}
"""Statistics of a single activation, which are null in a file unless they differ from this."""


def write_stage(stage: Stage, folder: Path) -> None:
    """Write a stage folder, complete or not at all; see `Stage.save`."""
    with atomic_folder(folder, markers=(MANIFEST, CHECKPOINT)) as temporary:
        for feature_type in stage.feature_types:
            layers = _layers_of(stage, feature_type)
            write_rows(layers, temporary / f"preferences.{feature_type}.parquet")
            if any(preferences.runner_ups is not None for preferences in layers):
                write_runner_ups(layers, temporary / runner_up_file(feature_type))
        write_tables(stage, temporary)


def write_tables(stage: Stage, folder: Path) -> None:
    """Write everything of a stage except its rows, which are in `folder` already."""
    for feature_type in stage.feature_types:
        table = _feature_table(_layers_of(stage, feature_type)[0])
        table.write_parquet(folder / f"features.{feature_type}.parquet")
    stage.exemplars.select(*EXEMPLAR_SCHEMA).write_parquet(folder / "exemplars.parquet")
    stage.tags.select(*TAG_SCHEMA).write_parquet(folder / "tags.parquet")
    stage.scales.select(*SCALE_SCHEMA).write_parquet(folder / "scales.parquet")
    stage.documents.select(*DOCUMENT_SCHEMA).write_parquet(folder / DOCUMENTS)
    if len(stage.output_tokens):
        stage.output_tokens.select(*OUTPUT_TOKEN_SCHEMA).write_parquet(folder / OUTPUT_TOKENS)
    write_histograms(stage.histograms, folder)
    _write_manifest(stage, folder)


def _layers_of(stage: Stage, feature_type: str) -> list[Preferences]:
    return [
        stage.collected[layer, feature_type]
        for layer in stage.layers
        if (layer, feature_type) in stage.collected
    ]


def _write_manifest(stage: Stage, folder: Path) -> None:
    first = {layer: stage[layer, stage.feature_types[0]] for layer in stage.layers}
    runner_ups = {
        feature_type: [side.layer for side in _layers_of(stage, feature_type) if side.runner_ups is not None]
        for feature_type in stage.feature_types
    }
    runner_ups = {feature_type: layers for feature_type, layers in runner_ups.items() if layers}
    manifest = {
        **{key: value for key, value in stage.manifest.items() if key != "runner_ups"},
        "format": FORMAT,
        "name": stage.name,
        "features": list(stage.feature_types),
        "neurons": {layer: preferences.n_neurons for layer, preferences in first.items()},
        "folds": first[stage.layers[0]].folds,
        "selections": {layer: preferences.selection for layer, preferences in first.items()},
        **({"runner_ups": runner_ups} if runner_ups else {}),
        "checksums": {file.name: sha256_of(file) for file in sorted(folder.glob("*.parquet"))},
    }
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8", errors="strict")


def write_rows(layers: Iterable[Preferences], file: Path) -> None:
    """Write preferences part by part: one table of everything would take as much memory again.

    Args:
        layers: of all layers, or of parts of them, in the order of the file: by layer, then fold, then neuron.
        file: to be written.
    """

    def parts(*_: object) -> Iterator[pl.DataFrame]:
        for preferences in layers:
            for start in range(0, len(preferences.fold), _ROWS_PER_WRITE):
                yield _row_table(preferences, slice(start, start + _ROWS_PER_WRITE))

    register_io_source(parts, schema=_ROW_SCHEMA).sink_parquet(file, compression="zstd", maintain_order=True)


def write_runner_ups(layers: Iterable[Preferences], file: Path) -> None:
    """Write the runner-ups of preferences part by part; arguments as for `write_rows`."""

    def parts(*_: object) -> Iterator[pl.DataFrame]:
        for preferences in layers:
            rows = preferences.runner_ups
            for start in range(0, 0 if rows is None else len(rows), _ROWS_PER_WRITE):
                yield _row_table(preferences, slice(start, start + _ROWS_PER_WRITE), rows)

    source = register_io_source(parts, schema=_RUNNER_UP_SCHEMA)
    source.sink_parquet(file, compression="zstd", maintain_order=True)


def runner_up_file(feature_type: str) -> str:
    """Return the name of the file of runner-ups, which a stage folder may lack."""
    return f"runner_ups.{feature_type}.parquet"


def _row_table(preferences: Preferences, part: slice, runner_ups: RunnerUps | None = None) -> pl.DataFrame:
    rows = preferences if runner_ups is None else runner_ups
    features = _names_of(preferences.features, rows.feature_id[part])
    table = pl.DataFrame(
        {
            "layer": pl.Series([preferences.layer], dtype=pl.String).new_from_index(0, len(features)),
            "fold": rows.fold[part].astype(np.uint16),
            **({} if runner_ups is None else {"winner": runner_ups.winner[part].astype(np.uint32)}),
            "neuron": rows.neuron[part].astype(np.uint32),
            "feature": features,
            **{name: getattr(rows, name)[part] for name in STATISTICS},
        },
        schema=_ROW_SCHEMA if runner_ups is None else _RUNNER_UP_SCHEMA,
    )
    # Most rows are of one activation, so that two thirds of the numbers repeat the third.
    return table.with_columns(
        pl.when((pl.col("count") > 1) | (pl.col(name) != value)).then(name).alias(name)
        for name, value in _OF_ONE.items()
    )


def complete_rows(file: Path, table: pl.DataFrame) -> pl.DataFrame:
    """Return rows of a file of preferences as they were before they were written.

    Raises:
        ValueError: they have gaps, another type, or numbers that are not finite.
    """
    one = pl.col("count") == 1
    filled = (
        pl.when(one).then(pl.col(name).fill_null(value)).otherwise(name) for name, value in _OF_ONE.items()
    )
    return checked(file, table.with_columns(filled))


def _feature_table(preferences: Preferences) -> pl.DataFrame:
    feature_id, fold = np.nonzero(preferences.corpus_counts.T)
    return pl.DataFrame(
        {
            "feature": _names_of(preferences.features, feature_id),
            "fold": fold.astype(np.uint16),
            "count": preferences.corpus_counts[fold, feature_id],
        }
    )


def _names_of(names: Names, feature_id: Ints) -> pl.Series:
    return pl.Series(names.tolist(), dtype=pl.String).gather(feature_id)


Vocabulary = tuple[Names, Ints]
"""(n_features,) features of one type, sorted, and (folds, n_features) how often each occurs in the corpus."""


def read_vocabulary(file: Path, folds: int) -> Vocabulary:
    """Read the features of one type, which all layers share, and their counts in the corpus.

    Raises:
        ValueError, PolarsError: the table does not hold what was written there.
    """
    table = checked(file, pl.read_parquet(file))
    # Written in sorted order, feature by feature, so each run of one feature is one of the sorted vocabulary.
    column = table["feature"].rle_id().to_numpy().astype(np.int64)
    names = table["feature"].filter(np.diff(column, prepend=-1) > 0).to_numpy()
    if len(names) != table["feature"].n_unique():
        raise ValueError(f"{file.name}: the rows of a feature are not next to each other")
    counts = np.zeros((folds, len(names)), np.int64)
    counts[table["fold"].to_numpy(), column] = table["count"].to_numpy()
    return names, counts


def checked(file: Path, table: pl.DataFrame) -> pl.DataFrame:
    """Return the table of a file unchanged if it has no gaps and the types that are written.

    Raises:
        ValueError: it has gaps, another type, or numbers that are not finite.
    """
    for name, dtype in table.schema.items():
        if table[name].null_count() or (name in STATISTICS and dtype != _ROW_SCHEMA[name]):
            raise ValueError(f"{file.name}: column {name!r} has gaps, or is of type {dtype}")
        if dtype == pl.Float64 and not table[name].is_finite().all():
            raise ValueError(f"{file.name}: column {name!r} holds numbers that are not finite")
    return table


def preferences_from(
    manifest: Mapping[str, Any],
    layer: str,
    feature_type: str,
    vocabulary: Vocabulary,
    rows: pl.DataFrame,
    runner_ups: pl.DataFrame | None = None,
) -> Preferences:
    """Build the preferences of one layer from the rows of its files.

    Raises:
        ValueError, PolarsError, ShapeError: rows that cannot be what was written.
    """
    names, corpus_counts = vocabulary
    for file, table in (
        (f"preferences.{feature_type}.parquet", rows),
        (runner_up_file(feature_type), runner_ups),
    ):
        if table is not None and ((table["count"] < 1).any() or (table["sum"] < 0).any()):
            raise ValueError(f"{file}: a count below 1 or a sum below 0")
    return Preferences(
        stage=manifest["name"],
        layer=layer,
        feature_type=feature_type,
        selection=manifest["selections"][layer],
        n_neurons=manifest["neurons"][layer],
        features=names,
        corpus_counts=corpus_counts,
        runner_ups=None
        if runner_ups is None
        else RunnerUps(
            winner=runner_ups["winner"].to_numpy().astype(np.int64), **_columns_of(runner_ups, names)
        ),
        **_columns_of(rows, names),
    )


def _columns_of(rows: pl.DataFrame, names: Names) -> dict[str, Any]:
    return {
        "fold": rows["fold"].to_numpy().astype(np.int64),
        "neuron": rows["neuron"].to_numpy().astype(np.int64),
        "feature_id": feature_ids(rows["feature"], names),
        **{name: rows[name].to_numpy() for name in STATISTICS},
    }


def feature_ids(features: pl.Series, names: Names) -> Ints:
    """Return the (n,) index of each feature among these names."""
    # A cast to an enumeration looks the strings up in bulk, far faster than a search per row.
    return features.cast(pl.Enum(names.tolist())).to_physical().to_numpy().astype(np.int64)
