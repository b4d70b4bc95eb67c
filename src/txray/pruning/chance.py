"""Chance levels: changes of a metric are meaningless if the unpruned model is not better than chance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NAMES: Mapping[str, str] = {"auroc": "AUROC"}


def above_chance(levels: Mapping[str, Mapping[str, Any]], metric: str) -> bool | None:
    """Return whether a model is better than chance by a metric.

    Args:
        levels: metric -> `value`, `chance`, `low` and `high` (95% interval of value - chance), `above`.
        metric: name; F1 and loss have no chance level: AUROC, or else accuracy, is used instead.

    Returns:
        None if there is no level (language models) or no interval (one document).
    """
    judged = _judged(levels, metric)
    return None if judged is None else levels[judged]["above"]


def chance_note(
    levels: Mapping[str, Mapping[str, Any]], metric: str | None = None, *, interval: bool = True
) -> str:
    """Return the metrics by which a model is not better than chance, with their levels; empty if there are none.

    Args:
        levels: see `above_chance`.
        metric: the only metric of interest; all by default.
        interval: whether to add the 95% interval of the difference.
    """
    if metric is not None:
        judged = _judged(levels, metric)
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
    """Return the chance levels of one text of `Pruning.summary["texts"]`; empty if there are none."""
    levels: Mapping[str, Mapping[str, Any]] = text.get("chance", {})
    return levels


def _judged(levels: Mapping[str, Mapping[str, Any]], metric: str) -> str | None:
    return next((name for name in (metric, "auroc", "accuracy") if name in levels), None)
