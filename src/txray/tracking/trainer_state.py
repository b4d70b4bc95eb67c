"""What the trainer of transformers writes down of a training: how far it was, and what it scored."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from txray.errors import UsageError, in_one_line
from txray.tracking.tracker import UNITS, Unit

STATE = "trainer_state.json"
"""The file of a checkpoint that tells how far the training was."""

_NO_SCORES = ("step", "epoch", "learning_rate", "grad_norm", "total_flos")
_NO_SCORE_PARTS = ("runtime", "per_second", "memory", "num_input_tokens")


def logged_scores(history: Iterable[Mapping[str, Any]], number: int, unit: Unit) -> dict[str, float]:
    """The latest scores that a trainer had logged at a step or epoch; times and rates are none.

    Args:
        history: `log_history` of the trainer's state.
        number: of steps or epochs done.
        unit: which of them.
    """
    scores: dict[str, float] = {}
    for entry in history:
        if entry.get(unit, 0) <= number:
            scores |= {name: float(value) for name, value in entry.items() if _is_score(name, value)}
    return scores


def checkpoint_state(folder: Path) -> Mapping[str, Any] | None:
    """What a checkpoint tells of its training; None where it tells nothing.

    Raises:
        UsageError: its file is damaged.
    """
    file = folder / STATE
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if not (int(content["global_step"]) >= 0 and isfinite(content["epoch"])):
            raise ValueError("it tells no step or epoch")
        for entry in content["log_history"]:
            for unit in UNITS:
                float(entry.get(unit, 0))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise UsageError(f"{file}: damaged ({in_one_line(error)}); leave this checkpoint out") from error
    state: Mapping[str, Any] = content
    return state


def _is_score(name: str, value: object) -> bool:
    named = name not in _NO_SCORES and not name.startswith("train_")
    return named and isinstance(value, int | float) and not any(part in name for part in _NO_SCORE_PARTS)
