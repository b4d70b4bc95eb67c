"""Verdicts on pruned sets: better, worse, the same within a smallest effect of interest, or unknown, with power."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from scipy.stats import norm
from scipy.stats import t as student

from txray.errors import UsageError
from txray.pruning.bootstrap import INTERVAL
from txray.pruning.max_t import FAMILY_KEYS, family_p_values
from txray.pruning.random_comparison import BETTER, SAME, WORSE

if TYPE_CHECKING:
    from txray.pruning.result import Pruning

CANNOT_TELL = "cannot tell"
POWER = 0.8
"""Probability with which the smallest detectable difference is detected."""

_IN_POINTS = ("accuracy", "f1", "auroc")
_TAIL = (1 + INTERVAL) / 2

VERDICT_SCHEMA = {
    "set": pl.String,
    "ranking": pl.String,
    "neurons": pl.Int64,
    "split": pl.String,
    "metric": pl.String,
    "unit": pl.String,
    "change": pl.Float64,
    "change_detectable": pl.Float64,
    "change_verdict": pl.String,
    "versus_random": pl.Float64,
    "versus_random_detectable": pl.Float64,
    "random_p_value": pl.Float64,
    "family_p_value": pl.Float64,
    "versus_random_verdict": pl.String,
}


def verdicts(pruning: Pruning, smallest_effect: float | None = None) -> pl.DataFrame:
    """Return what is known of each set: its change, and its difference to random sets of the same size.

    Differences are in percentage points of accuracy, F1 and AUROC, and in percent of the unpruned value of perplexity,
    loss and metrics of your own.

    `change_verdict` is `better` or `worse` than unpruned if the 95% interval of the change excludes 0, and
    `versus_random_verdict` is `better than random sets` or `worse than random sets` if, in addition, `family_p_value`
    is at most 5%. Both are `the same within ...` if the 90% interval lies within the smallest effect of interest (two
    one-sided tests at 5%), which goes first. Otherwise they are `cannot tell`: then the `detectable` columns say which
    difference would have been found with a probability of 80%.

    Args:
        pruning: result of `txray.prune`.
        smallest_effect: smallest difference of interest, in the units above; None for no verdicts of equivalence.

    Returns:
        One row per set that is not empty, text and metric.

    Raises:
        UsageError: a smallest effect that is not positive.
    """
    require_smallest_effect(smallest_effect)
    has_random = bool(pruning.effects["random_mean"].is_not_null().any())
    rows = pruning.effects.filter(pl.col("value").is_not_null())
    if has_random:
        rows = rows.join(family_p_values(pruning), on=FAMILY_KEYS, how="left", maintain_order="left")
    else:
        rows = rows.with_columns(family_p_value=pl.lit(None, pl.Float64))
    resamples = {key: group["change"].to_numpy() for key, group in pruning.resamples.group_by(FAMILY_KEYS)}
    n_random = {
        key: len(group)
        for key, group in pruning.random.group_by("layer", "neurons", "split", "metric")
    }  # fmt: skip
    results = []
    for row in rows.iter_rows(named=True):
        sign = pruning.summary["better"][row["metric"]]
        unit, factor = _scale(row)
        change = _judged_change(row, resamples.get(tuple(row[key] for key in FAMILY_KEYS)), sign, unit, factor,
                                smallest_effect)  # fmt: skip
        draws = n_random.get((row["layer"], row["neurons"], row["split"], row["metric"]), 0)
        versus = _judged_versus(row, draws, sign, unit, factor, smallest_effect)
        results.append((*(row[name] for name in ("set", "ranking", "neurons", "split", "metric")), unit,
                        _times(row["change"], factor), *change, _times(row["versus_random"], factor), versus[0],
                        row["random_p_value"], row["family_p_value"], versus[1]))  # fmt: skip
    return pl.DataFrame(results, schema=VERDICT_SCHEMA, orient="row")


def require_smallest_effect(smallest_effect: float | None) -> None:
    """Raise a `UsageError` unless the smallest effect of interest is None or a positive number."""
    if smallest_effect is not None and not 0 < smallest_effect < float("inf"):
        raise UsageError(f"verdicts: smallest_effect={smallest_effect}; pass a positive number, such as 0.5")


def _scale(row: dict[str, Any]) -> tuple[str, float]:
    """Return the unit of differences, and what one of the metric is in it."""
    if row["metric"] in _IN_POINTS:
        return "points", 100.0
    return "percent", 100.0 / abs(row["unpruned"]) if row["unpruned"] else float("nan")


def _judged_change(
    row: dict[str, Any], samples: Any, sign: int, unit: str, factor: float, smallest_effect: float | None
) -> tuple[float | None, str | None]:
    """Return the detectable change and the verdict on it; nulls without an interval."""
    if samples is None or row["change_low"] is None:
        return None, None
    finite = factor * samples[np.isfinite(samples)]
    low, high = np.quantile(finite, [1 - INTERVAL, INTERVAL])
    detectable = float((norm.ppf(_TAIL) + norm.ppf(POWER)) * finite.std(ddof=1))
    verdict = CANNOT_TELL
    if smallest_effect is not None and -smallest_effect < low and high < smallest_effect:
        verdict = same_within(smallest_effect, unit)
    elif row["change_low"] > 0 or row["change_high"] < 0:
        verdict = BETTER if sign * row["change"] > 0 else WORSE
    return detectable, verdict


def _judged_versus(
    row: dict[str, Any], n_random: int, sign: int, unit: str, factor: float, smallest_effect: float | None
) -> tuple[float | None, str | None]:
    """Return the detectable difference to random sets and the verdict on it; nulls without random sets."""
    if row["verdict"] is None or row["versus_random_low"] is None or n_random < 2:
        return None, None
    difference = factor * row["versus_random"]
    quantile, reach = (float(student.ppf(p, n_random - 1)) for p in (_TAIL, INTERVAL))
    spread = factor * (row["versus_random_high"] - row["versus_random"]) / quantile
    detectable = (quantile + float(student.ppf(POWER, n_random - 1))) * spread
    if smallest_effect is not None and abs(difference) + reach * spread < smallest_effect:
        return detectable, same_within(smallest_effect, unit)
    if (
        row["verdict"] == SAME
        or row["family_p_value"] is None
        or row["family_p_value"] > 1 - INTERVAL + 1e-12
    ):
        return detectable, CANNOT_TELL
    return detectable, f"{row['verdict']} than random sets"


def same_within(smallest_effect: float, unit: str) -> str:
    """Return the verdict of equivalence."""
    return f"the same within {smallest_effect:g} {unit}"


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None or not np.isfinite(factor) else value * factor


def verdict_phrase(table: pl.DataFrame) -> str:
    """Return a phrase with the numbers of verdicts against random sets, corrected for all of them."""
    counted = table.filter(pl.col("versus_random_verdict").is_not_null()).group_by(
        "versus_random_verdict", maintain_order=True
    ).len()  # fmt: skip
    return ", ".join(f"{n:,} {verdict}" for verdict, n in counted.sort("len", descending=True).iter_rows())
