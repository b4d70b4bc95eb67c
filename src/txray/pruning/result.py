"""What a pruning found, and its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from txray.analysis.saving import save_tables
from txray.errors import StageError, in_one_line
from txray.pruning.rows import EFFECTS, RANDOM, RESAMPLES, SETS
from txray.pruning.sets import NeuronSet

SUMMARY = "pruning.json"
"""The file that tells a folder of pruning effects."""

_TABLES = ("effects", "random", "sets", "resamples")


@dataclass(frozen=True, eq=False)
class Pruning:
    """Effects of pruning some sets of neurons.

    Attributes:
        effects: one row per set, split and metric. `change` = `value` - `unpruned`, with the bounds of its 95 %
            interval over documents; `relative`: the change as a share of `unpruned`. `versus_random` = `value` -
            `random_mean`, with the bounds of a 95 % interval of the difference to one more random set of as many
            neurons; `verdict`: `better` or `worse` than random where that interval leaves out 0, else
            `not distinguishable`; null where the set is empty. Verdicts are of each effect alone: of many, see
            `txray.pruning.multiplicity.corrected`. `versus_random_p_value`: two-sided, by the same distribution as the
            interval. `above_chance`: whether the whole model is better than chance by this metric (of F1 and loss
            by AUROC, else accuracy), null where there is no such level. `random_p_value`:
            (1 + random sets that are as far from their mean) / (1 + random sets).
        random: one row per layer, size, draw, split and metric: the values of random sets.
        sets: one row per set: its neurons, as text; see `neuron_sets`.
        resamples: one row per set, split and metric: `change` and `versus` of each resample of the groups of
            documents.
        summary: settings and counts, plain JSON values; of each of `texts` the `documents`, and the `groups` that were
            resampled.
    """

    effects: pl.DataFrame
    random: pl.DataFrame
    sets: pl.DataFrame
    resamples: pl.DataFrame
    summary: Mapping[str, Any]

    def __repr__(self) -> str:
        told = self.effects.filter(pl.col("verdict").is_not_null())
        return (
            f"Pruning({len(self.sets)} sets, {len(told)} verdicts, {self.summary['random']} random sets each)"
        )

    def neuron_sets(self) -> list[NeuronSet]:
        """The sets, with their neurons."""
        return [
            NeuronSet(row["set"], row["layer"], tuple(map(int, row["neurons"].split())), row["ranking"])
            for row in self.sets.iter_rows(named=True)
        ]

    def save(self, folder: Path | str) -> Path:
        """Write the tables as Parquet and CSV, and `pruning.json`, all or nothing; returns the folder.

        Raises:
            OutputError: the place cannot be written.
        """
        tables = {name: getattr(self, name) for name in _TABLES}
        return save_tables(folder, tables, self.summary, SUMMARY)


def load_pruning(folder: Path | str) -> Pruning:
    """Read what `Pruning.save` wrote.

    Raises:
        StageError: there is nothing, or it is damaged.
    """
    place = Path(folder)
    if not (place / SUMMARY).is_file():
        raise StageError(
            f"{place}: holds no {SUMMARY}; name a folder that 'txray prune table' or 'curve' wrote"
        )
    try:
        tables = {name: pl.read_parquet(place / f"{name}.parquet") for name in _TABLES}
        summary = json.loads((place / SUMMARY).read_text(encoding="utf-8"))
        _check(tables, summary)
    except (OSError, ValueError, RecursionError, pl.exceptions.PolarsError) as error:
        raise StageError(f"{place}: damaged: {in_one_line(error)}; make it again") from error
    return Pruning(**tables, summary=summary)


_SUMMARY = {
    "ablation": str,
    "when": str,
    "random": int,
    "resamples": int,
    "seed": int,
    "layers": dict,
    "model": str,
    "better": dict,
    "texts": dict,
}
"""What a summary must hold, and of which kind."""


def _check(tables: Mapping[str, pl.DataFrame], summary: object) -> None:
    """Refuse what the rest of the package could not read.

    Raises:
        ValueError: something is missing, or of another kind.
    """
    schemas = {"effects": EFFECTS, "random": RANDOM, "sets": SETS, "resamples": RESAMPLES}
    for name, schema in schemas.items():
        if dict(tables[name].schema) != dict(schema):
            raise ValueError(f"{name}.parquet has other columns")
    if not isinstance(summary, dict):
        raise ValueError(f"{SUMMARY} holds no object")
    for name, kind in _SUMMARY.items():
        if not isinstance(summary.get(name), kind):
            raise ValueError(f"{SUMMARY} lacks {name!r}, or it is of another kind")
    for split, told in summary["texts"].items():
        if (
            not isinstance(told, dict)
            or not all(isinstance(told.get(name), int) for name in ("documents", "groups"))
            or not all(isinstance(told.get(name, ""), str) for name in ("digest", "groups_digest"))
        ):
            raise ValueError(f"{SUMMARY} does not tell the documents and groups of {split!r}")
