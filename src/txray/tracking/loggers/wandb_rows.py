"""Rows of a W&B run's history that leave W&B's own step to other code that logs to the same run.

W&B's step never decreases: a row for an earlier step is dropped. Committing a row increments the step; code that sets
the step itself (`run.log(..., step=epoch)`) would then log for a step that is over. Measurements therefore go into the
open row, beside whatever other code logs, and carry a step of their own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

STEP = "txray/step"
"""Step over which W&B plots measurements."""


class HistoryRows:
    """Writes the measurements of each step as one row, in the order of the steps; none is dropped.

    Each row needs a W&B step of its own. If the run has not moved since the last row, and incrementing its step could
    interfere with other code, rows wait until it moves, the last ones until `close`.
    """

    def __init__(self, run: Any, *, shared: bool) -> None:
        """Begin with the open row.

        Args:
            run: an active W&B run.
            shared: whether other code logs to it.
        """
        self._run = run
        self._shared = shared
        self._first_step = run.step
        self._waiting: deque[tuple[int, dict[str, Any]]] = deque()
        self._written: tuple[int, int] | None = None  # step of the last row, and W&B's step

    def add(self, values: Mapping[str, Any], step: int) -> None:
        """Add values of a step."""
        self._require_active()
        if self._waiting and self._waiting[-1][0] == step:
            self._waiting[-1][1].update(values)
        elif not self._waiting and self._written == (step, self._run.step):
            self._run.log(dict(values), commit=False)
        else:
            self._waiting.append((step, dict(values)))
        self._write(move=not self._shared or self._counted_by_wandb())

    def close(self) -> None:
        """Write the waiting rows; the last one stays open, and W&B writes it at its next row or at the run's end."""
        if self._waiting:
            self._require_active()
            self._write(move=True)

    def _require_active(self) -> None:
        """Raise at once if the run has ended; reading its step would block for half a minute."""
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
        """Return True if other code leaves the step to W&B, one per call; False until it has logged something."""
        if self._run.step == self._first_step:
            return False
        # W&B stores this only in its telemetry.
        feature = getattr(getattr(self._run, "_telemetry_obj", None), "feature", None)
        return getattr(feature, "set_step_log", True) is False
