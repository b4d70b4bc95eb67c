"""Progress and metrics that the trainer of transformers stores with a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from txray.errors import UsageError, in_one_line
from txray.tracking.history import UNITS, Unit

STATE = "trainer_state.json"
"""File of a checkpoint with the progress of the training."""

_NOT_METRICS = ("step", "epoch", "learning_rate", "grad_norm", "total_flos")
_NOT_METRIC_PARTS = ("runtime", "per_second", "memory", "num_input_tokens")


def logged_metrics(history: Iterable[Mapping[str, Any]], number: int, unit: Unit) -> dict[str, float]:
    """Return the latest metrics that a trainer had logged by a step or epoch; times and rates are left out.

    Args:
        history: `log_history` of the trainer's state.
        number: completed steps or epochs.
        unit: unit of `number`.
    """
    metrics: dict[str, float] = {}
    for entry in history:
        if entry.get(unit, 0) <= number:
            metrics |= {name: float(value) for name, value in entry.items() if _is_metric(name, value)}
    return metrics


def checkpoint_state(folder: Path) -> Mapping[str, Any] | None:
    """Return the state of the training stored in a checkpoint; None if there is none.

    Raises:
        UsageError: the file is damaged.
    """
    file = folder / STATE
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if not (int(content["global_step"]) >= 0 and isfinite(content["epoch"])):
            raise ValueError("no step or epoch")
        for entry in content["log_history"]:
            for unit in UNITS:
                float(entry.get(unit, 0))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise UsageError(f"{file}: damaged ({in_one_line(error)}); leave this checkpoint out") from error
    state: Mapping[str, Any] = content
    return state


def _is_metric(name: str, value: object) -> bool:
    excluded = name in _NOT_METRICS or name.startswith("train_")
    return (
        not excluded
        and isinstance(value, int | float)
        and not any(part in name for part in _NOT_METRIC_PARTS)
    )
