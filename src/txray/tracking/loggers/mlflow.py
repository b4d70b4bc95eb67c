"""MLflow: metrics, figures as interactive pages, tables, and stage folders, as artifacts of a run."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from txray._optional import import_extra
from txray.errors import UsageError, in_one_line
from txray.plots.export import to_html
from txray.tracking.loggers.facts import stage_facts
from txray.tracking.loggers.failures import one_line
from txray.tracking.loggers.tables import plain_rows

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import polars as pl

_FORBIDDEN = re.compile(r"[^\w.\- /]")
"""What no store of MLflow takes in a name."""
_LONGEST_NAME = 200
"""Characters; every store takes 250, and a name also becomes a part of a path."""
_TABLES = "mlflow.loggedArtifacts"
"""The tag by which MLflow's page finds tables."""
_LONGEST_TAG = 5000
"""Characters. Tables beyond are artifacts like any other, only that MLflow's page of tables does not list them."""
_BATCH = 1000
"""Metrics that MLflow takes at once."""


class MLflowLogger:
    """Logs to a run of MLflow; needs the extra `mlflow`.

    Figures, tables and stages of a step are artifacts: `<name>/step-<step>.html`, `<name>/step-<step>.json` and
    `txray/stage/step-<step>`. A page of a figure asks no host for anything, which makes it some 5 MB.

    Attributes:
        run_id: the run that is logged to.
    """

    def __init__(
        self, run_id: str | None = None, *, experiment: str | None = None, name: str | None = None
    ) -> None:
        """Log to a run that is given, to the active one, or to one started here.

        A run started here is not made the active one, so that whoever starts one meanwhile can.

        Args:
            run_id: of a run; it goes on after `close`. None: the active run, which goes on as well, or a new one,
                which ends then.
            experiment: where a run started here belongs, made if need be; None: MLflow's current one.
            name: of a run started here.

        Raises:
            UsageError: mlflow is missing, or its store cannot be used.
        """
        mlflow = import_extra("logging to MLflow needs", "mlflow", "mlflow")
        active = mlflow.active_run() if run_id is None else None
        if active is not None:
            run_id = active.info.run_id
        if run_id is not None and (experiment is not None or name is not None):
            raise UsageError(
                f"MLflowLogger: run {run_id} exists; experiment and name are for a run that is started here"
            )
        self._own = run_id is None
        try:
            self._client = mlflow.MlflowClient()
            self.run_id = (
                self._client.get_run(run_id).info.run_id if run_id else self._start(mlflow, experiment, name)
            )
        # Stores fail with errors of every type, bare ones among them.
        except Exception as error:
            raise UsageError(_unusable(mlflow.get_tracking_uri(), error)) from error

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Keep some numbers of one step, also those that are not finite; see `mlflow_name` for their names."""
        from mlflow.entities import Metric

        now = time.time_ns() // 1_000_000
        metrics = [Metric(mlflow_name(name), float(value), now, step) for name, value in values.items()]
        with self._logging():
            for begin in range(0, len(metrics), _BATCH):
                self._client.log_batch(self.run_id, metrics[begin : begin + _BATCH], synchronous=True)

    def figure(self, name: str, figure: go.Figure, step: int) -> None:
        """Keep a figure of one step as one HTML page, interactive and complete in itself."""
        page = to_html(figure, name=name)
        with self._logging():
            self._client.log_text(self.run_id, page, f"{mlflow_name(name)}/step-{step}.html")

    def table(self, name: str, table: pl.DataFrame, step: int) -> None:
        """Keep a table of one step, in the form that `mlflow.load_table` reads."""
        # As MLflow's own log_table has it, which would need pandas.
        content = json.dumps({"columns": table.columns, "data": plain_rows(table)}, ensure_ascii=False)
        place = f"{mlflow_name(name)}/step-{step}.json"
        with self._logging():
            self._client.log_text(self.run_id, content, place)
            listed = json.loads(self._client.get_run(self.run_id).data.tags.get(_TABLES, "[]"))
            told = json.dumps([*listed, {"path": place, "type": "table"}])
            if len(told) <= _LONGEST_TAG:
                self._client.set_tag(self.run_id, _TABLES, told)

    def stage(self, folder: Path, step: int) -> None:
        """Keep a stage folder as a folder of artifacts.

        Raises:
            StageError: no complete stage folder.
        """
        facts = stage_facts(folder)
        place = f"txray/stage/step-{step}"
        with self._logging():
            self._client.log_artifacts(self.run_id, str(folder), place)
            self._client.set_tag(self.run_id, place.replace("/", "."), str(facts["stage"]))

    def close(self) -> None:
        """End the run if it was started here; everything is written already."""
        if self._own:
            with self._logging():
                self._client.set_terminated(self.run_id)

    def _logging(self) -> AbstractContextManager[None]:
        return one_line(f"MLflow run {self.run_id}", Exception)

    def _start(self, mlflow: Any, experiment: str | None, name: str | None) -> str:
        if experiment is None:
            # What set_experiment or the environment names, else MLflow's own default.
            place = mlflow.tracking.fluent._get_experiment_id()
        else:
            found = self._client.get_experiment_by_name(experiment)
            place = found.experiment_id if found else self._client.create_experiment(experiment)
        return str(self._client.create_run(place, run_name=name).info.run_id)


def mlflow_name(name: str) -> str:
    """A name as every store of MLflow takes it.

    Letters, digits, `_ - .` and spaces stay, slashes part folders; all else becomes `_`. Parts that are
    empty, `.` or `..` are left out. What is too long ends in a hash instead of its rest.
    """
    parts = [part.strip() for part in _FORBIDDEN.sub("_", name).split("/")]
    clean = "/".join(part for part in parts if part.strip(".")) or "_"
    if len(clean) > _LONGEST_NAME:
        return f"{clean[: _LONGEST_NAME - 13].rstrip('/ ')}-{sha256(name.encode()).hexdigest()[:12]}"
    return clean


def _unusable(place: str, error: Exception) -> str:
    """One line on a store that cannot be used: what it says, and the ways out that need no other package."""
    return (
        f"MLflow cannot use {place}: {in_one_line(error).partition('. ')[0]}; name a server in MLFLOW_TRACKING_URI, "
        "install sqlalchemy and alembic for sqlite, or allow a folder by MLFLOW_ALLOW_FILE_STORE=true"
    )
