"""The same sets in several trainings, taken together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import t as student

from txray.errors import UsageError
from txray.pruning.bootstrap import BETTER, INTERVAL, SAME, WORSE, bounds
from txray.pruning.result import Pruning

POOLED = {
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
}


def pool(prunings: Sequence[Pruning]) -> pl.DataFrame:
    """Means over trainings, with intervals, and whether a set is unlike random ones in all of them together.

    Trainings have random sets of their own. Where they were scored on the same documents, these were resampled in the
    same way, and are taken together sample by sample; other documents were resampled on their own.
    The intervals are about these trainings; how far further ones would differ is told by how far these do.

    Args:
        prunings: one per training, of at least 2; sets are taken together by their names.

    Returns:
        One row per set, split and metric: the columns of `Pruning.effects` as means over `trainings` (those where the
        set is not empty), `better` and `worse`: how many of them are so by themselves.

    Raises:
        UsageError: fewer than two prunings, two of one model, without intervals or random sets, with other settings,
            with other groups of the same documents, or without a set in common.
    """
    if len(prunings) < 2:
        raise UsageError(f"pool: {len(prunings)} pruning; give those of at least 2 trainings")
    for name in ("ablation", "when", "resamples", "better", "layers"):
        found = [each.summary[name] for each in prunings]
        if any(each != found[0] for each in found):
            raise UsageError(f"pool: prunings with {name} {found[:4]}; make them in the same way")
    models = [each.summary["model"] for each in prunings]
    if any(models.count(each) > 1 for each in models if each):
        raise UsageError("pool: two of the prunings are of the same model; give one of each training")
    if any(not each.summary["random"] or each.resamples.is_empty() for each in prunings):
        raise UsageError("pool: a pruning without random sets or without documents; make it with both")
    _require_equal_groups(prunings)
    keys = ["set", "layer", "split", "metric"]
    effects = [
        dict(zip(each.effects.columns, row, strict=True)) | {"training": number}
        for number, each in enumerate(prunings)
        for row in each.effects.filter(
            pl.col("verdict").is_not_null(),
            pl.col("change_low").is_not_null(),
            pl.col("random_deviation").is_not_null(),
        ).iter_rows()
    ]
    order = list(dict.fromkeys(tuple(row[key] for key in keys) for row in effects))
    effects.sort(key=lambda row: order.index(tuple(row[key] for key in keys)))
    rows = []
    for key, group in groupby(effects, key=lambda row: tuple(row[name] for name in keys)):
        members = list(group)
        if len(members) > 1:
            set_name, _, split, metric = key
            rows.append((set_name, split, metric, *_together(prunings, members)))
    if not rows:
        raise UsageError(
            "pool: no set is in two of the prunings on a text of the same name; prune the same in each"
        )
    return pl.DataFrame(rows, schema=POOLED, orient="row")


def _require_equal_groups(prunings: Sequence[Pruning]) -> None:
    """Refuse the same documents in other groups: they were not resampled in the same way.

    Raises:
        UsageError: there are such.
    """
    first: dict[tuple[str, str], dict[str, Any]] = {}
    for pruning in prunings:
        for split, text in pruning.summary["texts"].items():
            digest = text.get("digest")
            other = first.setdefault((split, digest), text) if digest else text
            if text.get("groups_digest") != other.get("groups_digest"):
                raise UsageError(
                    f"pool: text {split!r}: the same documents in {other['groups']:,} and {text['groups']:,} groups; "
                    "prune with the same groups in each"
                )


def _together(prunings: Sequence[Pruning], group: Sequence[dict[str, Any]]) -> tuple[Any, ...]:
    """The cells of one set, split and metric."""
    first = group[0]
    n = len(group)

    def mean(name: str) -> float:
        return float(np.mean([row[name] for row in group]))

    drawn = [_resamples(prunings[row["training"]], row) for row in group]
    change, versus = np.mean(drawn, axis=0)
    low, high = bounds(change)
    of_sets = []
    for row in group:
        draws = _draws(prunings[row["training"]], row)
        of_sets.append((float(row["random_deviation"]) ** 2 * (1 + 1 / draws), draws - 1))
    total = sum(variance for variance, _ in of_sets)
    spread = np.sqrt(total / n**2 + np.nanvar(versus, ddof=1))
    # Welch and Satterthwaite: as many degrees of freedom as a sum of such variances has.
    freedom = total**2 / sum(variance**2 / each for variance, each in of_sets) if total else np.inf
    reach = float(student.ppf((1 + INTERVAL) / 2, freedom)) * float(spread)
    difference = mean("versus_random")
    sign = prunings[first["training"]].summary["better"][first["metric"]]
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
    )


def _p_value(difference: float, spread: float, freedom: float) -> float:
    """Return the two-sided p-value of a difference by Student's t; of sets that do not scatter, 0 or 1."""
    if spread == 0:
        return float(difference == 0)
    return float(2 * student.sf(abs(difference) / spread, freedom))


def _resamples(pruning: Pruning, row: dict[str, Any]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """(2, resamples) change and versus of one set, split and metric."""
    chosen = pruning.resamples.filter(
        *(pl.col(name) == row[name] for name in ("set", "split", "metric"))
    ).sort("resample")
    return chosen.select("change", "versus").to_numpy().T


def _draws(pruning: Pruning, row: dict[str, Any]) -> int:
    """How many random sets one set was held against."""
    chosen = (pl.col(name) == row[name] for name in ("layer", "neurons", "split", "metric"))
    return pruning.random.filter(*chosen).height
