"""Whether a whole model is better than one that knows nothing: otherwise changes of its metrics mean nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NAMES: Mapping[str, str] = {"auroc": "AUROC"}


def above_chance(levels: Mapping[str, Mapping[str, Any]], metric: str) -> bool | None:
    """Return whether a model is better than chance, as far as that bears on a metric.

    Args:
        levels: metric -> `value`, `chance`, `low` and `high` (95% interval of value less chance), `above`.
        metric: F1 and loss have no level of their own: AUROC, or else accuracy, speaks for them.

    Returns:
        None where there is no level, as of language models, or no interval, as of one document.
    """
    judged = next((name for name in (metric, "auroc", "accuracy") if name in levels), None)
    return None if judged is None else levels[judged]["above"]


def chance_note(
    levels: Mapping[str, Mapping[str, Any]], metric: str | None = None, *, interval: bool = True
) -> str:
    """Return the metrics by which a model is not better than chance, beside their levels; empty where there are none.

    Args:
        levels: see `above_chance`.
        metric: only as far as this one is concerned; all by default.
        interval: whether to add the 95% interval of the difference.
    """
    if metric is not None:
        judged = next((name for name in (metric, "auroc", "accuracy") if name in levels), None)
        levels = {} if judged is None else {judged: levels[judged]}
    return "; ".join(
        f"{_NAMES.get(name, name)} {level['value']:.3f}, by chance {level['chance']:.3f}"
        + (
            f" (95% interval of the difference {level['low']:+.3f} to {level['high']:+.3f})"
            if interval
            else ""
        )
        for name, level in levels.items()
        if level["above"] is False
    )


def levels_of(text: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """Return the chance levels of one text of `Pruning.summary["texts"]`; empty where there are none."""
    levels: Mapping[str, Mapping[str, Any]] = text.get("chance", {})
    return levels
