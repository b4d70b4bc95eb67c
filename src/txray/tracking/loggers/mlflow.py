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
from txray.tracking.loggers.failures import wrap_errors
from txray.tracking.loggers.tables import plain_rows

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import polars as pl

_FORBIDDEN = re.compile(r"[^\w.\- /]")
"""Characters that no store of MLflow accepts in a name."""
_MAX_NAME = 200
"""Characters; every store accepts 250, and a name also becomes part of a path."""
_TABLES = "mlflow.loggedArtifacts"
"""Tag by which MLflow's web page finds tables."""
_MAX_TAG = 5000
"""Characters. Further tables are logged as artifacts, but MLflow's web page does not list them as tables."""
_BATCH = 1000
"""Metrics that MLflow accepts in one call."""


class MLflowLogger:
    """Logs to a run of MLflow; needs the extra `mlflow`.

    Figures, tables and stages of a step are artifacts: `<name>/step-<step>.html`, `<name>/step-<step>.json` and
    `txray/stage/step-<step>`. The page of a figure includes plotly, so that it works offline; it has about 5 MB.

    Attributes:
        run_id: the run to log to.
    """

    def __init__(
        self, run_id: str | None = None, *, experiment: str | None = None, name: str | None = None
    ) -> None:
        """Log to a given run, to the active run, or to a new one.

        A new run is not made the active run, so that other code can start one.

        Args:
            run_id: an existing run, which `close` leaves open. None: the active run, which is left open as well, or a
                new run, which `close` ends.
            experiment: experiment of a new run, created if it does not exist; None: MLflow's current experiment.
            name: name of a new run.

        Raises:
            UsageError: mlflow is missing, or its store cannot be used.
        """
        mlflow = import_extra("logging to MLflow needs", "mlflow", "mlflow")
        active = mlflow.active_run() if run_id is None else None
        if active is not None:
            run_id = active.info.run_id
        if run_id is not None and (experiment is not None or name is not None):
            raise UsageError(
                f"MLflowLogger: run {run_id} exists; leave experiment and name out, which are for a new run"
            )
        self._started_run = run_id is None
        try:
            self._client = mlflow.MlflowClient()
            self.run_id = (
                self._client.get_run(run_id).info.run_id if run_id else self._start(mlflow, experiment, name)
            )
        # Stores raise errors of any type, Exception itself among them.
        except Exception as error:
            raise UsageError(_unusable(mlflow.get_tracking_uri(), error)) from error

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Log the numbers of a step, infinite and NaN included; see `mlflow_name` for their names."""
        from mlflow.entities import Metric

        now = time.time_ns() // 1_000_000
        metrics = [Metric(mlflow_name(name), float(value), now, step) for name, value in values.items()]
        with self._logging():
            for begin in range(0, len(metrics), _BATCH):
                self._client.log_batch(self.run_id, metrics[begin : begin + _BATCH], synchronous=True)

    def figure(self, name: str, figure: go.Figure, step: int) -> None:
        """Log a figure of a step as one interactive, self-contained HTML page."""
        page = to_html(figure, name=name)
        with self._logging():
            self._client.log_text(self.run_id, page, f"{mlflow_name(name)}/step-{step}.html")

    def table(self, name: str, table: pl.DataFrame, step: int) -> None:
        """Log a table of a step, in the format that `mlflow.load_table` reads."""
        # The format of MLflow's own log_table, which would need pandas.
        content = json.dumps({"columns": table.columns, "data": plain_rows(table)}, ensure_ascii=False)
        path = f"{mlflow_name(name)}/step-{step}.json"
        with self._logging():
            self._client.log_text(self.run_id, content, path)
            listed = json.loads(self._client.get_run(self.run_id).data.tags.get(_TABLES, "[]"))
            tag = json.dumps([*listed, {"path": path, "type": "table"}])
            if len(tag) <= _MAX_TAG:
                self._client.set_tag(self.run_id, _TABLES, tag)

    def stage(self, folder: Path, step: int) -> None:
        """Log a stage folder as a folder of artifacts."""
        facts = stage_facts(folder)
        path = f"txray/stage/step-{step}"
        with self._logging():
            self._client.log_artifacts(self.run_id, str(folder), path)
            self._client.set_tag(self.run_id, path.replace("/", "."), str(facts["stage"]))

    def close(self) -> None:
        """End the run if this logger started it; all data is written already."""
        if self._started_run:
            with self._logging():
                self._client.set_terminated(self.run_id)

    def _logging(self) -> AbstractContextManager[None]:
        return wrap_errors(f"MLflow run {self.run_id}", Exception)

    def _start(self, mlflow: Any, experiment: str | None, name: str | None) -> str:
        if experiment is None:
            # Set by set_experiment or the environment, else MLflow's default.
            experiment_id = mlflow.tracking.fluent._get_experiment_id()
        else:
            known = self._client.get_experiment_by_name(experiment)
            experiment_id = known.experiment_id if known else self._client.create_experiment(experiment)
        return str(self._client.create_run(experiment_id, run_name=name).info.run_id)


def mlflow_name(name: str) -> str:
    """Return a name that every store of MLflow accepts.

    Letters, digits, `_ - .` and spaces stay, slashes separate folders; other characters become `_`. Empty parts, `.`
    and `..` are dropped. The end of a long name is replaced by a hash.
    """
    parts = [part.strip() for part in _FORBIDDEN.sub("_", name).split("/")]
    clean = "/".join(part for part in parts if part.strip(".")) or "_"
    if len(clean) > _MAX_NAME:
        return f"{clean[: _MAX_NAME - 13].rstrip('/ ')}-{sha256(name.encode()).hexdigest()[:12]}"
    return clean


def _unusable(store: str, error: Exception) -> str:
    """Return a one-line message for an unusable store: its error, and remedies."""
    return (
        f"MLflow cannot use {store}: {in_one_line(error).partition('. ')[0]}; name a server in MLFLOW_TRACKING_URI, "
        "install sqlalchemy and alembic for sqlite, or allow a folder by MLFLOW_ALLOW_FILE_STORE=true"
    )
