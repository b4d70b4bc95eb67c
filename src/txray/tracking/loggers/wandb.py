"""Weights & Biases: interactive figures, tables that can be filtered, stage folders as artifacts."""

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
from txray.tracking.loggers.failures import one_line
from txray.tracking.loggers.tables import plain_rows
from txray.tracking.loggers.wandb_rows import STEP, Rows

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import polars as pl


class WandbLogger:
    """Logs to a run of Weights & Biases; needs the extra `wandb`.

    Measurements are drawn over `txray/step`. W&B's own step belongs to whoever else logs to the run: where they
    count it themselves and it moves slower than measurements come, these wait until it has moved or `close`.

    Attributes:
        run: the run that is logged to.
    """

    def __init__(self, run: Any = None, **options: Any) -> None:
        """Log to a run, or start one.

        Args:
            run: what `wandb.init` returned; it goes on after `close`. None: start one, which ends then.
            options: of `wandb.init`, for a run started here: `project`, `name`, `mode="offline"` and so on.

        Raises:
            UsageError: wandb is missing, or both a run and options are given.
        """
        self._wandb = import_extra("logging to Weights & Biases needs", "wandb", "wandb")
        if run is not None and options:
            raise UsageError(
                f"WandbLogger: both a run and options ({', '.join(options)}) are given; give the options to wandb.init"
            )
        self._own = run is None
        # Without it, wandb.init hands out the run that is active already, and closing would end that.
        self.run = self._wandb.init(**{"reinit": "create_new", **options}) if run is None else run
        self.run.define_metric(STEP, hidden=True)
        self.run.define_metric("txray/*", step_metric=STEP)
        self._rows = Rows(self.run, shared=not self._own)
        self._named: set[str] = set()

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Keep some numbers of one step, also those that are not finite."""
        self._add({name: float(value) for name, value in values.items()}, step)

    def figure(self, name: str, figure: go.Figure, step: int) -> None:
        """Keep a figure of one step; it stays interactive."""
        import plotly.graph_objects as go

        self._add({name: self._wandb.Plotly(go.Figure(plain_figure(figure)))}, step)

    def table(self, name: str, table: pl.DataFrame, step: int) -> None:
        """Keep a table of one step: numbers, texts and nulls; W&B takes 200,000 rows at most, and says so."""
        self._add({name: self._wandb.Table(columns=table.columns, data=plain_rows(table))}, step)

    def stage(self, folder: Path, step: int) -> None:
        """Keep a stage folder, as the next version of the run's artifact of type `stage`.

        Raises:
            StageError: no complete stage folder.
        """
        facts = stage_facts(folder)
        artifact = self._wandb.Artifact(f"stage-{self.run.id}", "stage", metadata={**facts, "step": step})
        artifact.add_dir(str(folder))
        name = re.sub(r"[^\w.-]", "_", str(facts["stage"]), flags=re.ASCII)[:100]
        with self._logging():
            self.run.log_artifact(artifact, aliases=["latest", f"step-{step}", *([name] if name else [])])

    def close(self) -> None:
        """Write down everything, and end the run if it was started here.

        Raises:
            OutputError: something waits to be written, and the run has ended.
        """
        with self._logging():
            self._rows.close()
        if self._own:
            self.run.finish()

    def _add(self, values: dict[str, Any], step: int) -> None:
        with self._logging():
            for name in values.keys() - self._named:
                if not name.startswith("txray/"):
                    self.run.define_metric(name, step_metric=STEP)
                self._named.add(name)
            self._rows.add(values, step)

    def _logging(self) -> AbstractContextManager[None]:
        return one_line(f"W&B run {self.run.id}", self._wandb.Error, OSError)
