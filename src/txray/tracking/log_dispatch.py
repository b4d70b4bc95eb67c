"""What is told of a look, and to whom: loggers may fail, training goes on."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import polars as pl

from txray.analysis import Comparison, Timeline, change_measures, stage_measures
from txray.analysis.findings import changed_most_first
from txray.errors import TrackingWarning, TxrayError, UnknownNameError, UsageError, in_one_line
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
"""What can be drawn of every look and the one before."""

_MOST_CHANGED = 50
"""Neurons in the table of a look."""
_FLOW = 24
"""Stages that the picture of flows takes."""
_TOP = "txray"


class LoggerGroup:
    """Everybody who is told.

    Attributes:
        failed: name of a logger -> how many times it failed.
    """

    def __init__(self, loggers: Sequence[Logger], figures: Sequence[str], *, seed: int) -> None:
        """Nothing is told yet.

        Raises:
            UnknownNameError: a figure that there is not.
            UsageError: one where a list is needed, or a logger that is none.
        """
        if isinstance(figures, str):
            raise UsageError(f"tracker: figures={figures!r}; give a list, such as [{figures!r}]")
        if isinstance(loggers, str | Logger):
            raise UsageError(f"tracker: loggers={loggers!r}; give a list of loggers")
        self._loggers = list(loggers)
        for each in self._loggers:
            if not isinstance(each, Logger):
                raise UsageError(
                    f"tracker: {each!r} is no logger; give some of txray.tracking.loggers, such as "
                    "TensorBoardLogger('runs')"
                )
        for name in figures:
            if name not in FIGURES:
                raise UnknownNameError.of("figure of a look", name, FIGURES)
        self.failed: dict[str, int] = {}
        self._figures = list(figures)
        self._seed = seed

    def look(self, stage: Stage, folder: Path, found: Sequence[tuple[str, Comparison]], number: int) -> None:
        """Tell of a stage, and how it differs from others.

        Args:
            stage: of the look.
            folder: that holds it.
            found: reference (`previous` or `first`) and the comparison with it, for every layer and feature type.
            number: of the look.
        """
        if not self._loggers:
            return
        values: dict[str, float] = {}
        for layer, feature_type in stage.collected:
            values |= _named(
                stage_measures(stage, layer=layer, feature_type=feature_type, seed=self._seed),
                _TOP,
                layer,
                feature_type,
            )
        for reference, comparison in found:
            place = (_TOP, comparison.after.layer, comparison.after.feature_type, reference)
            values |= _named(change_measures(comparison, seed=self._seed), *place)
        self._tell(lambda logger: logger.scalars(values, number))
        for reference, comparison in found:
            if reference == "previous":
                self._comparison(comparison, number)
        self._tell(lambda logger: logger.stage(folder, number))

    def timeline(self, timeline: Timeline, number: int) -> None:
        """Tell the whole story, once it is over."""
        if not self._loggers:
            return
        drawn = {"timeline": draw_timeline, "distances": stage_distances}
        if len(timeline.names) <= _FLOW:
            drawn["flow"] = knowledge_flow
        for layer in timeline.steps:
            for name, draw in drawn.items():
                place = f"{_TOP}/{layer}/{timeline.feature_type}/{name}"
                self._figure(place, partial(draw, timeline, layer), number)
        for name in ("stages", "changes"):
            self._table(f"{_TOP}/{timeline.feature_type}/{name}", getattr(timeline, name), number)

    def close(self) -> None:
        """Let every logger write down what it has."""
        self._tell(lambda logger: logger.close())

    def _comparison(self, comparison: Comparison, number: int) -> None:
        place = f"{_TOP}/{comparison.after.layer}/{comparison.after.feature_type}"
        for name in self._figures:
            if name != "volcano" or comparison.tested:
                self._figure(f"{place}/{name}", partial(FIGURES[name], comparison), number)
        order = changed_most_first(comparison.neurons, comparison.fdr)
        changed = comparison.neurons[order.head(_MOST_CHANGED)]
        self._table(f"{place}/most_changed", changed, number)

    def _table(self, name: str, table: pl.DataFrame, number: int) -> None:
        self._tell(lambda logger: logger.table(name, table, number))

    def _figure(self, name: str, draw: Callable[[], go.Figure], number: int) -> None:
        try:
            figure = draw()
        except TxrayError as error:
            self._note(f"figure {name}", error)
            return
        self._tell(lambda logger: logger.figure(name, figure, number))

    def _tell(self, say: Callable[[Logger], Any]) -> None:
        for logger in self._loggers:
            try:
                say(logger)
            except Exception as error:  # a tracker that cannot be reached is no reason to lose a training
                self._note(type(logger).__name__, error)

    def _note(self, who: str, error: Exception) -> None:
        """Warn, the first time."""
        if who not in self.failed:
            warnings.warn(
                f"tracking: {who} failed: {in_one_line(error, 300)}; training goes on, and the stages are kept",
                TrackingWarning,
                stacklevel=2,
            )
        self.failed[who] = self.failed.get(who, 0) + 1


def _named(values: Mapping[str, Any], *place: str) -> dict[str, float]:
    """Numbers by their paths; what is not known is left out."""
    return {"/".join((*place, name)): float(value) for name, value in values.items() if value is not None}
