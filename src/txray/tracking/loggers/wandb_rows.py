"""Rows of a W&B run's history that leave W&B's own step to the people who log to the same run.

W&B's step never falls: a row for an earlier one is dropped. Committing a row moves the step by one; people who
count it themselves (`run.log(..., step=epoch)`) would then log for a step that is over. Measurements therefore go
into the row that is open, beside whatever people log, and carry a step of their own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

STEP = "txray/step"
"""The step that W&B draws measurements over."""


class Rows:
    """Measurements of one step become one row, in the order of their steps; none is dropped.

    A row needs a step of W&B's. Where the run has not gone on since the row before, and moving it could be in
    somebody's way, rows wait until it has, the last ones until `close`.
    """

    def __init__(self, run: Any, *, shared: bool) -> None:
        """Begin with the row that is open.

        Args:
            run: a run of W&B that is active.
            shared: whether somebody else logs to it.
        """
        self._run = run
        self._shared = shared
        self._begun = run.step
        self._waiting: deque[tuple[int, dict[str, Any]]] = deque()
        self._written: tuple[int, int] | None = None  # the step of the last row, and W&B's

    def add(self, values: Mapping[str, Any], step: int) -> None:
        """Keep values of one step."""
        self._require_active()
        if self._waiting and self._waiting[-1][0] == step:
            self._waiting[-1][1].update(values)
        elif not self._waiting and self._written == (step, self._run.step):
            self._run.log(dict(values), commit=False)
        else:
            self._waiting.append((step, dict(values)))
        self._write(move=not self._shared or self._counted_by_wandb())

    def close(self) -> None:
        """Write what waits; the last row stays open, W&B writes it with whatever comes next or at the run's end."""
        if self._waiting:
            self._require_active()
            self._write(move=True)

    def _require_active(self) -> None:
        """Fail at once where the run has ended; asked for its step, W&B would wait for half a minute."""
        self._run.log({}, commit=False)

    def _write(self, *, move: bool) -> None:
        while self._waiting:
            if self._written is not None and self._written[1] == self._run.step:
                if not move:
                    return
                self._run.log({}, commit=True)
            step, values = self._waiting.popleft()
            self._written = (step, self._run.step)
            self._run.log({**values, STEP: step}, commit=False)

    def _counted_by_wandb(self) -> bool:
        """Whether people leave the step to W&B, one per call; unknown until they have logged something."""
        if self._run.step == self._begun:
            return False
        # W&B notes it for its own statistics, and tells it nowhere else.
        feature = getattr(getattr(self._run, "_telemetry_obj", None), "feature", None)
        return getattr(feature, "set_step_log", True) is False
