"""Merge stage folders with no more in memory than the rows of one fold of one layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from txray.arrays import Ints
from txray.files import atomic_folder
from txray.preferences.grouped_stats import STATISTICS
from txray.preferences.manifest import CHECKPOINT, MANIFEST
from txray.preferences.merge import exemplars_per_neuron, merge_stages, strongest
from txray.preferences.preferences import Preferences
from txray.preferences.runner_ups import RunnerUps, key_of
from txray.preferences.sparse_stats import SparseStats
from txray.preferences.stage import Stage
from txray.preferences.stage_folder import StageFolder
from txray.preferences.stage_warnings import stage_warnings
from txray.preferences.store import feature_ids, runner_up_file, write_rows, write_runner_ups, write_tables


def merge_folders(folders: Sequence[Path | str], out: Path | str, name: str | None = None) -> Path:
    """Merge stage folders into one, as `merge_stages` does, without loading them all.

    Rows are stored by layer, fold and neuron, so they are merged layer by layer and fold by fold. Memory holds the
    largest such block of all stages together, their features, and the exemplars of two of them.

    Args:
        folders: as `txray collect` writes them, of the same model and settings, over different documents.
        out: created, or replaced if it holds a stage already.
        name: of the merged stage; the first stage's by default.

    Returns:
        The folder.

    Raises:
        StageError: a folder that is missing, unfinished or damaged.
        UsageError: no folder, a shard twice, or shards of different corpora.
        ShapeError: stages collected in different ways.
        OutputError: `out` cannot be written, or holds something else.
    """
    shards = [StageFolder.open(folder) for folder in folders]
    whole = merge_stages([Stage(**shard.contents(rows=False)) for shard in shards], name)
    wins: dict[str, Ints] = {}
    with atomic_folder(Path(out), markers=(MANIFEST, CHECKPOINT)) as new:
        for feature_type in whole.feature_types:
            wins_of_type: dict[str, Ints] = {}
            write_rows(
                _blocks(shards, whole.collected, feature_type, wins_of_type),
                new / f"preferences.{feature_type}.parquet",
            )
            outlines = [
                empty
                for (_, type_of_rows), empty in whole.collected.items()
                if type_of_rows == feature_type and empty.runner_ups is not None
            ]
            if outlines:
                write_runner_ups(_runner_up_blocks(shards, outlines), new / runner_up_file(feature_type))
            if feature_type != "subword":
                wins = wins or wins_of_type
        exemplars = whole.exemplars
        for shard in shards:
            exemplars = strongest([exemplars, shard.exemplars], whole.layers, exemplars_per_neuron(whole))
        warnings = stage_warnings(
            wins, whole.manifest["layers"], whole.manifest["corpus"], whole.manifest["words"]
        )
        manifest = {**whole.manifest, "warnings": [str(warning) for warning in warnings]}
        write_tables(replace(whole, exemplars=exemplars, manifest=manifest), new)
    return Path(out)


def _blocks(
    shards: Sequence[StageFolder],
    outline: Mapping[tuple[str, str], Preferences],
    feature_type: str,
    wins: dict[str, Ints],
) -> Iterator[Preferences]:
    """Yield the merged rows of each fold of each layer, in the order of the file, and add up their wins."""
    for (layer, type_of_rows), empty in outline.items():
        if type_of_rows != feature_type:
            continue
        wins[layer] = np.zeros(empty.n_neurons, np.int64)
        for fold in range(empty.folds):
            table = pl.concat([shard.rows(layer, feature_type, fold=fold) for shard in shards])
            block = _merged(table, fold, empty)
            np.add.at(wins[layer], block.neuron, block.count)
            yield block


def _runner_up_blocks(
    shards: Sequence[StageFolder], outlines: Sequence[Preferences]
) -> Iterator[Preferences]:
    """Yield the merged runner-ups of each fold of each layer, in the order of the file."""
    for empty in outlines:
        for fold in range(empty.folds):
            tables = (shard.runner_up_rows(empty.layer, empty.feature_type, fold=fold) for shard in shards)
            table = pl.concat([rows for rows in tables if rows is not None])
            columns = {name: table[name].to_numpy() for name in ("winner", "neuron")}
            feature_id = feature_ids(table["feature"], empty.features)
            key = key_of(
                np.zeros(len(table), np.int64),
                columns["winner"].astype(np.int64),
                columns["neuron"].astype(np.int64),
                feature_id,
                empty.n_neurons,
                1,
            )
            rows = SparseStats.combined([SparseStats(key, *(table[name].to_numpy() for name in STATISTICS))])
            block = RunnerUps.of_rows(rows, empty.n_neurons, 1, np.arange(len(empty.features)))
            yield replace(empty, runner_ups=replace(block, fold=np.full(len(block), fold)))


def _merged(table: pl.DataFrame, fold: int, empty: Preferences) -> Preferences:
    """Merge the rows of several stages; rows of the same key are added in the order of the stages."""
    n_features = max(len(empty.features), 1)
    key = table["neuron"].to_numpy().astype(np.int64) * n_features
    key += feature_ids(table["feature"], empty.features)
    rows = SparseStats.combined([SparseStats(key, *(table[name].to_numpy() for name in STATISTICS))])
    neuron, feature_id = np.divmod(rows.key, n_features)
    statistics = {name: getattr(rows, name) for name in STATISTICS}
    return replace(empty, fold=np.full(len(rows), fold), neuron=neuron, feature_id=feature_id, **statistics)
