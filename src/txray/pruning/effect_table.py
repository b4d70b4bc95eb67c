"""The tables of a pruning: one row per set, text and metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from txray.pruning.bootstrap import Bootstrap, RunMetrics, percentile_interval
from txray.pruning.chance import above_chance
from txray.pruning.neuron_sets import NeuronSet
from txray.pruning.random_comparison import compare_with_random

EFFECT_SCHEMA: Mapping[str, Any] = {
    "set": pl.String,
    "ranking": pl.String,
    "layer": pl.String,
    "neurons": pl.Int64,
    "share": pl.Float64,
    "split": pl.String,
    "metric": pl.String,
    "documents": pl.Int64,
    "unpruned": pl.Float64,
    "above_chance": pl.Boolean,
    "value": pl.Float64,
    "change": pl.Float64,
    "change_low": pl.Float64,
    "change_high": pl.Float64,
    "relative": pl.Float64,
    "random_mean": pl.Float64,
    "random_deviation": pl.Float64,
    "versus_random": pl.Float64,
    "versus_random_low": pl.Float64,
    "versus_random_high": pl.Float64,
    "versus_random_p_value": pl.Float64,
    "random_p_value": pl.Float64,
    "verdict": pl.String,
}

RANDOM_SCHEMA = {
    "layer": pl.String,
    "neurons": pl.Int64,
    "draw": pl.Int64,
    "split": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
}

SET_SCHEMA = {"set": pl.String, "ranking": pl.String, "layer": pl.String, "neurons": pl.String}

RESAMPLE_SCHEMA = {
    "set": pl.String,
    "split": pl.String,
    "metric": pl.String,
    "resample": pl.Int64,
    "change": pl.Float64,
    "versus": pl.Float64,
}


class EffectTable:
    """The rows of one text.

    Attributes:
        better: metric -> 1 if higher is better, -1 if lower is.
        chance: metric -> its chance level, see `Bootstrap.chance`.
        effects, random: rows of the tables of the same names.
    """

    def __init__(
        self,
        split: str,
        bootstrap: Bootstrap,
        unpruned: RunMetrics,
        better: Mapping[str, int],
        chance: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.better = better
        self.chance = chance
        self.effects: list[tuple[Any, ...]] = []
        self.random: list[tuple[Any, ...]] = []
        self._resamples: list[pl.DataFrame] = []
        self._split, self._bootstrap, self._unpruned = split, bootstrap, unpruned

    def add_set(
        self, neurons: NeuronSet, n_neurons: int, pruned: RunMetrics | None, random_sets: Sequence[RunMetrics]
    ) -> None:
        """Add the rows of one set; `n_neurons`: size of the layer, `pruned`: None for an empty set."""
        share = len(neurons) / n_neurons
        set_cells = (neurons.name, neurons.ranking, neurons.layer, len(neurons), share, self._split)
        for metric, unpruned in self._unpruned.observed.items():
            is_above = above_chance(self.chance, metric)
            cells = (*set_cells, metric, self._bootstrap.n_documents, unpruned, is_above)
            if pruned is None:
                self.effects.append((*cells, *[None] * (len(EFFECT_SCHEMA) - len(cells))))
                continue
            value = pruned.observed[metric]
            change = _resampled_difference(metric, pruned, [self._unpruned])
            low, high = (None, None) if change is None else percentile_interval(change)
            relative = (value - unpruned) / unpruned if unpruned else None
            row: list[Any] = [value, value - unpruned, low, high, relative]
            versus = _resampled_difference(metric, pruned, random_sets)
            if random_sets:
                random = compare_with_random(value, [run.observed[metric] for run in random_sets], versus)
                row += [*astuple(random)[1:], random.verdict(self.better[metric])]
            else:
                row += [None] * 8
            self.effects.append((*cells, *(_or_null(cell) for cell in row)))
            if change is not None:
                self._resamples.append(
                    pl.DataFrame(
                        {
                            "set": neurons.name,
                            "split": self._split,
                            "metric": metric,
                            "resample": np.arange(len(change)),
                            "change": change,
                            "versus": np.full(len(change), np.nan) if versus is None else versus,
                        },
                        schema=RESAMPLE_SCHEMA,
                    )
                )

    def add_random(self, layer: str, size: int, random_sets: Sequence[RunMetrics]) -> None:
        """Add the rows of the random sets of one size."""
        for draw, run in enumerate(random_sets):
            for metric, value in run.observed.items():
                self.random.append((layer, size, draw, self._split, metric, value))

    def resamples(self) -> pl.DataFrame:
        """Return the table of the resampled changes."""
        return pl.concat([pl.DataFrame(schema=RESAMPLE_SCHEMA), *self._resamples])


def _resampled_difference(
    metric: str, pruned: RunMetrics, others: Sequence[RunMetrics]
) -> NDArray[np.float64] | None:
    """Return (resamples,) metric - mean metric of other runs; None without resamples or runs."""
    if pruned.resampled is None or not others:
        return None
    mean = np.mean([run.resampled[metric] for run in others if run.resampled is not None], axis=0)
    return np.asarray(pruned.resampled[metric] - mean)


def _or_null(cell: float | str | None) -> float | str | None:
    """Return None for NaN."""
    return None if isinstance(cell, float) and np.isnan(cell) else cell
