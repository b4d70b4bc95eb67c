"""The result of a pruning, and its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from txray.analysis.result_folder import save_result
from txray.errors import StageError, in_one_line
from txray.pruning.effect_table import EFFECT_SCHEMA, RANDOM_SCHEMA, RESAMPLE_SCHEMA, SET_SCHEMA
from txray.pruning.neuron_sets import NeuronSet

if TYPE_CHECKING:
    import plotly.graph_objects as go

SUMMARY = "pruning.json"
"""The file that marks a folder of pruning results."""

_SCHEMAS: Mapping[str, Mapping[str, Any]] = {
    "effects": EFFECT_SCHEMA,
    "random": RANDOM_SCHEMA,
    "sets": SET_SCHEMA,
    "resamples": RESAMPLE_SCHEMA,
}
_MAX_ROWS = 20
"""Maximum number of rows shown in a notebook."""


@dataclass(frozen=True, eq=False)
class Pruning:
    """Effects of ablating sets of neurons, the result of `txray.prune`.

    Attributes:
        effects: one row per set, split and metric. `change` = `value` - `unpruned`, with the bounds of its 95% interval
            over documents; `relative`: the change divided by `unpruned`. `versus_random` = `value` - `random_mean`,
            with the bounds of the 95% interval of the difference to one more random set of the same size; `verdict`:
            `better` or `worse` than random if that interval excludes 0, else `not distinguishable`; null for an empty
            set. Verdicts are about one effect each: for many, see `verdicts`.
            `versus_random_p_value`: two-sided, from the same distribution as the interval. `above_chance`: whether the
            unpruned model is better than chance by this metric (for F1 and loss by AUROC, else accuracy); null if there
            is no chance level. `random_p_value`: (1 + number of random sets at least as far from their mean) / (1 +
            number of random sets).
        random: one row per layer, size, draw, split and metric: the values of the random sets.
        sets: one row per set: its neurons, as text; see `neuron_sets`.
        resamples: one row per set, split, metric and bootstrap sample: `change` and `versus`.
        summary: settings and counts, as plain JSON values; for each of `texts` the number of `documents`, and of the
            `groups` that were resampled.
    """

    effects: pl.DataFrame
    random: pl.DataFrame
    sets: pl.DataFrame
    resamples: pl.DataFrame
    summary: Mapping[str, Any]

    @property
    def layer(self) -> str | None:
        """Return the layer of the sets; None if they belong to several layers."""
        layers = list(self.summary["layers"])
        return layers[0] if len(layers) == 1 else None

    def __repr__(self) -> str:
        verdicts = self.effects["verdict"].drop_nulls()
        return (
            f"Pruning({len(self.sets)} sets, {len(verdicts)} verdicts, "
            f"{self.summary['n_random_sets']} random sets of each size)"
        )

    def _repr_html_(self) -> str:
        from txray.notebook import card, table
        from txray.pruning.multiplicity import verdict_counts

        summary = self.summary
        sentences = [
            f"Ablation {summary['ablation']} ({summary['scope']}) in {', '.join(summary['layers'])}; "
            f"{summary['n_random_sets']} random sets of each size."
        ]
        if self.effects["verdict"].is_not_null().any():
            sentences.append(f"Effects: {verdict_counts(self.effects)}.")
        columns = [
            "set",
            "neurons",
            "split",
            "metric",
            "unpruned",
            "value",
            "change",
            "versus_random",
            "verdict",
        ]
        caption = f"{min(len(self.effects), _MAX_ROWS)} of {len(self.effects)} effects"
        rows = self.effects.head(_MAX_ROWS).select(columns).iter_rows()
        return card(f"Pruning of {len(self.sets)} sets", sentences, table(caption, columns, rows))

    def neuron_sets(self) -> list[NeuronSet]:
        """Return the sets with their neurons."""
        return [
            NeuronSet(row["set"], row["layer"], tuple(map(int, row["neurons"].split())), row["ranking"])
            for row in self.sets.iter_rows(named=True)
        ]

    def verdicts(self, smallest_effect: float | None = None) -> pl.DataFrame:
        """Return the verdict on each effect, corrected for all of them, and what could have been detected.

        Args:
            smallest_effect: smallest difference of interest, in percentage points (accuracy, F1, AUROC) or in percent;
                smaller ones are "the same". See `txray.pruning.verdicts`.
        """
        from txray.pruning.verdicts import verdicts

        return verdicts(self, smallest_effect)

    def plot(self, metric: str | None = None) -> go.Figure:
        """Return the figure of the effects, see `txray.plots.pruning_effects`.

        Args:
            metric: name of the metric; by default F1, perplexity, or the first one.
        """
        from txray import plots

        figure: go.Figure = plots.pruning_effects(self, metric)
        return figure

    def save(self, folder: Path | str) -> Path:
        """Write the tables as Parquet and CSV, and `pruning.json`, atomically; return the folder.

        Raises:
            OutputError: the folder cannot be written.
        """
        tables = {name: getattr(self, name) for name in _SCHEMAS}
        return save_result(folder, "Pruning", SUMMARY, self.summary, tables=tables)

    @classmethod
    def load(cls, folder: Path | str) -> Pruning:
        """Read a folder written by `save`.

        Raises:
            StageError: the folder has no pruning results, or is damaged.
        """
        path = Path(folder)
        if not (path / SUMMARY).is_file():
            raise StageError(
                f"{path}: has no {SUMMARY}; pass a folder written by 'txray prune table' or 'curve'"
            )
        try:
            tables = {name: pl.read_parquet(path / f"{name}.parquet") for name in _SCHEMAS}
            summary = json.loads((path / SUMMARY).read_text(encoding="utf-8"))
            _check(tables, summary)
        except (OSError, ValueError, RecursionError, pl.exceptions.PolarsError) as error:
            raise StageError(f"{path}: damaged: {in_one_line(error)}; prune again") from error
        return cls(**tables, summary=summary)


_SUMMARY_TYPES = {
    "ablation": str,
    "scope": str,
    "n_random_sets": int,
    "resamples": int,
    "seed": int,
    "layers": dict,
    "model": str,
    "better": dict,
    "texts": dict,
}
"""Required entries of a summary, and their types."""


def _check(tables: Mapping[str, pl.DataFrame], summary: object) -> None:
    """Check everything that the rest of the package relies on.

    Raises:
        ValueError: something is missing, or of another type.
    """
    for name, schema in _SCHEMAS.items():
        if dict(tables[name].schema) != dict(schema):
            raise ValueError(f"{name}.parquet has other columns")
    if not isinstance(summary, dict):
        raise ValueError(f"{SUMMARY} is not an object")
    for name, expected in _SUMMARY_TYPES.items():
        if not isinstance(summary.get(name), expected):
            raise ValueError(f"{SUMMARY} lacks {name!r}, or it has another type")
    for split, text in summary["texts"].items():
        if (
            not isinstance(text, dict)
            or not all(isinstance(text.get(name), int) for name in ("documents", "groups"))
            or not all(isinstance(text.get(name, ""), str) for name in ("digest", "groups_digest"))
        ):
            raise ValueError(f"{SUMMARY} lacks the documents and groups of {split!r}")
