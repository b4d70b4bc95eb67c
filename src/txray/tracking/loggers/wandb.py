"""Weights & Biases: interactive figures, filterable tables, stage folders as artifacts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from txray._optional import import_extra
from txray.errors import UsageError
from txray.plots.plotly_json import plain_figure
from txray.tracking.loggers.facts import stage_facts
from txray.tracking.loggers.failures import wrap_errors
from txray.tracking.loggers.tables import plain_rows
from txray.tracking.loggers.wandb_rows import STEP, HistoryRows

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import polars as pl


class WandbLogger:
    """Logs to a run of Weights & Biases; needs the extra `wandb`.

    Measurements are plotted over `txray/step`. W&B's own step is left to the code that logs to the same run: if that
    code sets the step itself, measurements wait until the step moves, or until `close`.

    Attributes:
        run: the W&B run.
    """

    def __init__(self, run: Any = None, **options: Any) -> None:
        """Log to a given run, or start one.

        Args:
            run: a run of `wandb.init`, which `close` leaves open. None: start a run, which `close` ends.
            options: options of `wandb.init` for a new run: `project`, `name`, `mode="offline"` and so on.

        Raises:
            UsageError: wandb is missing, or both a run and options are given.
        """
        self._wandb = import_extra("logging to Weights & Biases needs", "wandb", "wandb")
        if run is not None and options:
            raise UsageError(
                f"WandbLogger: both a run and options ({', '.join(options)}) are given; pass the options to wandb.init"
            )
        self._started_run = run is None
        # Without reinit, wandb.init returns the active run, which closing would end.
        self.run = self._wandb.init(**{"reinit": "create_new", **options}) if run is None else run
        self.run.define_metric(STEP, hidden=True)
        self.run.define_metric("txray/*", step_metric=STEP)
        self._rows = HistoryRows(self.run, shared=not self._started_run)
        self._defined: set[str] = set()

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Log the numbers of a step, infinite and NaN included."""
        self._add({name: float(value) for name, value in values.items()}, step)

    def figure(self, name: str, figure: go.Figure, step: int) -> None:
        """Log a figure of a step; it stays interactive."""
        import plotly.graph_objects as go

        self._add({name: self._wandb.Plotly(go.Figure(plain_figure(figure)))}, step)

    def table(self, name: str, table: pl.DataFrame, step: int) -> None:
        """Log a table of a step: numbers, strings and nulls. W&B accepts at most 200,000 rows."""
        self._add({name: self._wandb.Table(columns=table.columns, data=plain_rows(table))}, step)

    def stage(self, folder: Path, step: int) -> None:
        """Log a stage folder as the next version of the run's artifact of type `stage`."""
        facts = stage_facts(folder)
        artifact = self._wandb.Artifact(f"stage-{self.run.id}", "stage", metadata={**facts, "step": step})
        artifact.add_dir(str(folder))
        name = re.sub(r"[^\w.-]", "_", str(facts["stage"]), flags=re.ASCII)[:100]
        with self._logging():
            self.run.log_artifact(artifact, aliases=["latest", f"step-{step}", *([name] if name else [])])

    def close(self) -> None:
        """Flush all data, and end the run if this logger started it.

        Raises:
            OutputError: the run has ended with data still unwritten.
        """
        with self._logging():
            self._rows.close()
        if self._started_run:
            self.run.finish()

    def _add(self, values: dict[str, Any], step: int) -> None:
        with self._logging():
            for name in values.keys() - self._defined:
                if not name.startswith("txray/"):
                    self.run.define_metric(name, step_metric=STEP)
                self._defined.add(name)
            self._rows.add(values, step)

    def _logging(self) -> AbstractContextManager[None]:
        return wrap_errors(f"W&B run {self.run.id}", self._wandb.Error, OSError)
