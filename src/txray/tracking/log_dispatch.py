"""Sending measurements to loggers, whose failures must not stop a training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import polars as pl

from txray.analysis import Comparison, Timeline, change_measures, stage_measures
from txray.analysis.rules import changed_most_first
from txray.errors import TrackingWarning, TxrayError, UnknownNameError, UsageError, in_one_line, warn_user
from txray.plots import (
    hellinger_length,
    knowledge_flow,
    length_shift,
    mass_activation,
    stage_distances,
    volcano,
)
from txray.plots import timeline as draw_timeline
from txray.preferences import Stage
from txray.tracking.loggers import Logger

FIGURES: Mapping[str, Callable[[Comparison], go.Figure]] = {
    "hellinger_length": hellinger_length,
    "volcano": volcano,
    "length_shift": length_shift,
    "mass_activation": lambda comparison: mass_activation([comparison.before, comparison.after]),
}
"""Figures of a measurement and the one before, by name."""

_MAX_CHANGED = 50
"""Maximum number of neurons in the table of a measurement."""
_MAX_FLOW = 24
"""Maximum number of stages in the flow figure."""
_ROOT = "txray"


class LoggerGroup:
    """Sends each measurement to all loggers.

    Attributes:
        failed: number of failures per logger name.
    """

    def __init__(self, loggers: Sequence[Logger], figures: Sequence[str], *, seed: int) -> None:
        """Check loggers and figures; nothing is sent yet.

        Raises:
            UnknownNameError: an unknown figure.
            UsageError: a single name or logger instead of a list, or an object that is not a logger.
        """
        if isinstance(figures, str):
            raise UsageError(f"tracker: figures={figures!r}; give a list, such as [{figures!r}]")
        if isinstance(loggers, str | Logger):
            raise UsageError(f"tracker: loggers={loggers!r}; give a list of loggers")
        self._loggers = list(loggers)
        for logger in self._loggers:
            if not isinstance(logger, Logger):
                raise UsageError(
                    f"tracker: {logger!r} is not a logger; use one of txray.tracking.loggers, such as "
                    "TensorBoardLogger('runs')"
                )
        for name in figures:
            if name not in FIGURES:
                raise UnknownNameError.of("figure of a measurement", name, FIGURES)
        self.failed: dict[str, int] = {}
        self._figures = list(figures)
        self._seed = seed

    def log_measurement(
        self, stage: Stage, folder: Path, comparisons: Sequence[tuple[str, Comparison]], number: int
    ) -> None:
        """Log a stage and its comparisons with earlier stages.

        Args:
            stage: the stage that was measured.
            folder: its folder.
            comparisons: reference (`previous` or `first`) and comparison, for every layer and feature type.
            number: completed steps or epochs.
        """
        if not self._loggers:
            return
        values: dict[str, float] = {}
        for layer, feature_type in stage.collected:
            measures = stage_measures(stage, layer=layer, feature_type=feature_type, seed=self._seed)
            values |= _by_path(measures, _ROOT, layer, feature_type)
        for reference, comparison in comparisons:
            path = (_ROOT, comparison.after.layer, comparison.after.feature_type, reference)
            values |= _by_path(change_measures(comparison, seed=self._seed), *path)
        self._send(lambda logger: logger.scalars(values, number))
        for reference, comparison in comparisons:
            if reference == "previous":
                self._log_comparison(comparison, number)
        self._send(lambda logger: logger.stage(folder, number))

    def log_timeline(self, timeline: Timeline, number: int) -> None:
        """Log the figures and tables of the timeline at the end of a training."""
        if not self._loggers:
            return
        figures = {"timeline": draw_timeline, "distances": stage_distances}
        if len(timeline.names) <= _MAX_FLOW:
            figures["flow"] = knowledge_flow
        for layer in timeline.steps:
            for name, draw in figures.items():
                path = f"{_ROOT}/{layer}/{timeline.feature_type}/{name}"
                self._log_figure(path, partial(draw, timeline, layer), number)
        for name in ("stages", "changes"):
            self._log_table(f"{_ROOT}/{timeline.feature_type}/{name}", getattr(timeline, name), number)

    def close(self) -> None:
        """Close every logger."""
        self._send(lambda logger: logger.close())

    def _log_comparison(self, comparison: Comparison, number: int) -> None:
        path = f"{_ROOT}/{comparison.after.layer}/{comparison.after.feature_type}"
        for name in self._figures:
            if name != "volcano" or comparison.tested:
                self._log_figure(f"{path}/{name}", partial(FIGURES[name], comparison), number)
        order = changed_most_first(comparison.neurons, comparison.fdr)
        changed = comparison.neurons[order.head(_MAX_CHANGED)]
        self._log_table(f"{path}/most_changed", changed, number)

    def _log_table(self, name: str, table: pl.DataFrame, number: int) -> None:
        self._send(lambda logger: logger.table(name, table, number))

    def _log_figure(self, name: str, draw: Callable[[], go.Figure], number: int) -> None:
        try:
            figure = draw()
        except TxrayError as error:
            self._warn_once(f"figure {name}", error)
            return
        self._send(lambda logger: logger.figure(name, figure, number))

    def _send(self, log: Callable[[Logger], Any]) -> None:
        for logger in self._loggers:
            try:
                log(logger)
            except Exception as error:  # an unreachable logger must not end a training
                self._warn_once(type(logger).__name__, error)

    def _warn_once(self, name: str, error: Exception) -> None:
        """Count a failure, and warn about the first of each logger or figure."""
        if name not in self.failed:
            warn_user(
                f"tracking: {name} failed: {in_one_line(error, 300)}; training continues, and the stages are saved",
                TrackingWarning,
            )
        self.failed[name] = self.failed.get(name, 0) + 1


def _by_path(values: Mapping[str, Any], *path: str) -> dict[str, float]:
    """Return the numbers under their full names, without those that are None."""
    return {"/".join((*path, name)): float(value) for name, value in values.items() if value is not None}
