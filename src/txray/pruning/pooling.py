"""Effects of the same sets pooled over several training runs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import t as student

from txray.errors import UsageError
from txray.pruning.bootstrap import INTERVAL, percentile_interval
from txray.pruning.meta_analysis import random_effects
from txray.pruning.random_comparison import BETTER, SAME, WORSE
from txray.pruning.result import Pruning

POOLED_SCHEMA = {
    "set": pl.String,
    "split": pl.String,
    "metric": pl.String,
    "trainings": pl.Int64,
    "unpruned": pl.Float64,
    "change": pl.Float64,
    "change_low": pl.Float64,
    "change_high": pl.Float64,
    "relative": pl.Float64,
    "versus_random": pl.Float64,
    "versus_random_low": pl.Float64,
    "versus_random_high": pl.Float64,
    "versus_random_p_value": pl.Float64,
    "better": pl.Int64,
    "worse": pl.Int64,
    "verdict": pl.String,
    "training_deviation": pl.Float64,
    "trainings_low": pl.Float64,
    "trainings_high": pl.Float64,
    "trainings_detectable": pl.Float64,
    "versus_random_trainings_low": pl.Float64,
    "versus_random_trainings_high": pl.Float64,
    "versus_random_trainings_detectable": pl.Float64,
    "trainings_verdict": pl.String,
}


def pool_runs(prunings: Sequence[Pruning]) -> pl.DataFrame:
    """Average effects over training runs, and compare the sets with random sets in all runs together.

    Each run has its own random sets. Documents that runs share were resampled in the same way, and are averaged sample
    by sample; other documents are independent. `change_low` to `verdict` are about these runs. The columns with
    `trainings` treat them as a random sample of trainings (see `random_effects`): with three runs, Student's t has
    about two degrees of freedom, and only differences of five standard errors or more are found.

    Args:
        prunings: one pruning per training run, at least 2; sets are matched by name.

    Returns:
        One row per set, split and metric: the columns of `Pruning.effects` as means over `trainings` (the number of
        runs where the set is not empty), and the number of runs in which the set is `better` and `worse`. About further
        trainings: the standard deviation of the change between trainings, intervals of the mean change and of the mean
        difference to random sets, the smallest of each that would have been found with a probability of 80%, and the
        verdict on the difference to random sets.

    Raises:
        UsageError: fewer than two prunings, two of one model, or prunings without intervals or random sets, with
            different settings, with other groups of the same documents, or without a common set.
    """
    if len(prunings) < 2:
        raise UsageError(f"pool_runs: {len(prunings)} pruning; pass those of at least 2 training runs")
    for name in ("ablation", "scope", "resamples", "better", "layers"):
        values = [pruning.summary[name] for pruning in prunings]
        if any(value != values[0] for value in values):
            raise UsageError(f"pool_runs: prunings with {name} {values[:4]}; use the same settings for all")
    models = [pruning.summary["model"] for pruning in prunings]
    if any(models.count(model) > 1 for model in models if model):
        raise UsageError(
            "pool_runs: two of the prunings are of the same model; pass one of each training run"
        )
    if any(not pruning.summary["n_random_sets"] or pruning.resamples.is_empty() for pruning in prunings):
        raise UsageError("pool_runs: a pruning without random sets or without documents; prune with both")
    _require_equal_groups(prunings)
    keys = ["set", "layer", "split", "metric"]
    effects = [
        row | {"run": run}
        for run, pruning in enumerate(prunings)
        for row in pruning.effects.filter(
            pl.col("verdict").is_not_null(),
            pl.col("change_low").is_not_null(),
            pl.col("random_deviation").is_not_null(),
        ).iter_rows(named=True)
    ]
    order = list(dict.fromkeys(tuple(row[key] for key in keys) for row in effects))
    effects.sort(key=lambda row: order.index(tuple(row[key] for key in keys)))
    rows = []
    for key, group in groupby(effects, key=lambda row: tuple(row[name] for name in keys)):
        members = list(group)
        if len(members) > 1:
            set_name, _, split, metric = key
            rows.append((set_name, split, metric, *_pooled_cells(prunings, members)))
    if not rows:
        raise UsageError(
            "pool_runs: no set is in two of the prunings on a text of the same name; prune the same sets in each"
        )
    return pl.DataFrame(rows, schema=POOLED_SCHEMA, orient="row")


def _require_equal_groups(prunings: Sequence[Pruning]) -> None:
    """Refuse other groups of the same documents, which were not resampled in the same way.

    Raises:
        UsageError: the groups of a text differ.
    """
    first: dict[tuple[str, str], dict[str, Any]] = {}
    for pruning in prunings:
        for split, text in pruning.summary["texts"].items():
            digest = text.get("digest")
            other = first.setdefault((split, digest), text) if digest else text
            if text.get("groups_digest") != other.get("groups_digest"):
                raise UsageError(
                    f"pool_runs: text {split!r}: the same documents in {other['groups']:,} and {text['groups']:,} "
                    "groups; prune with the same groups in each"
                )


def _pooled_cells(prunings: Sequence[Pruning], group: Sequence[dict[str, Any]]) -> tuple[Any, ...]:
    """Return the cells of one set, split and metric."""
    first = group[0]
    n = len(group)

    def mean(name: str) -> float:
        return float(np.mean([row[name] for row in group]))

    samples = [
        _matching(prunings[row["run"]].resamples, row, "set", "split", "metric")
        .sort("resample")
        .select("change", "versus")
        .to_numpy()
        .T
        for row in group
    ]
    change, versus = np.mean(samples, axis=0)
    low, high = percentile_interval(change)
    variances = []
    for row in group:
        random = prunings[row["run"]].random
        n_random = _matching(random, row, "layer", "neurons", "split", "metric").height
        variances.append((float(row["random_deviation"]) ** 2 * (1 + 1 / n_random), n_random - 1))
    total = sum(variance for variance, _ in variances)
    spread = np.sqrt(total / n**2 + np.nanvar(versus, ddof=1))
    # Welch-Satterthwaite degrees of freedom of a sum of variances.
    freedom = total**2 / sum(variance**2 / degrees for variance, degrees in variances) if total else np.inf
    reach = float(student.ppf((1 + INTERVAL) / 2, freedom)) * float(spread)
    difference = mean("versus_random")
    sign = prunings[first["run"]].summary["better"][first["metric"]]
    verdict = SAME
    if abs(difference) > reach:
        verdict = BETTER if sign * difference > 0 else WORSE
    return (
        n,
        mean("unpruned"),
        mean("change"),
        low,
        high,
        mean("change") / mean("unpruned") if mean("unpruned") else None,
        difference,
        difference - reach,
        difference + reach,
        _p_value(difference, spread, freedom),
        *(sum(row["verdict"] == name for row in group) for name in (BETTER, WORSE)),
        verdict,
        *_over_trainings(prunings, group, np.array(samples), [variance for variance, _ in variances], sign),
    )


def _over_trainings(
    prunings: Sequence[Pruning],
    group: Sequence[dict[str, Any]],
    samples: NDArray[np.float64],
    random_variances: Sequence[float],
    sign: int,
) -> tuple[Any, ...]:
    """Return the cells about further trainings; `samples`: (runs, 2, resamples) changes and differences to random."""
    digests = [prunings[row["run"]].summary["texts"][row["split"]].get("digest") for row in group]
    # Resamples of other documents are unrelated, so their covariance is noise.
    shared = np.array([[one == other for other in digests] for one in digests]) | np.eye(
        len(group), dtype=bool
    )
    finite = samples[:, :, np.isfinite(samples).all(axis=(0, 1))]
    if finite.shape[2] < 2:
        return (None,) * 8
    change, versus = (
        random_effects(
            np.array([row[name] for row in group]),
            np.where(shared, np.cov(finite[:, i]), 0.0) + np.diag(extra),
        )
        for i, (name, extra) in enumerate(
            (("change", np.zeros(len(group))), ("versus_random", np.array(random_variances)))
        )
    )
    verdict = SAME
    if versus.low > 0 or versus.high < 0:
        verdict = BETTER if sign * versus.mean > 0 else WORSE
    return (
        *(change.deviation, change.low, change.high, change.detectable),
        *(versus.low, versus.high, versus.detectable, verdict),
    )


def _p_value(difference: float, spread: float, freedom: float) -> float:
    """Return the two-sided p-value of a difference by Student's t; 0 or 1 for random sets without scatter."""
    if spread == 0:
        return float(difference == 0)
    return float(2 * student.sf(abs(difference) / spread, freedom))


def _matching(table: pl.DataFrame, row: dict[str, Any], *names: str) -> pl.DataFrame:
    """Return the rows of a table with the same values in some columns."""
    return table.filter(*(pl.col(name) == row[name] for name in names))
