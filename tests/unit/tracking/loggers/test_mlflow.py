from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import plotly.graph_objects as go
import polars as pl
import pytest

from tests.builders.hostile import IN_MARKDOWN
from tests.unit.tracking.loggers.conftest import SCALARS
from txray.errors import OutputError, StageError, UsageError
from txray.plots import to_html
from txray.tracking.loggers import Logger, MLflowLogger
from txray.tracking.loggers.mlflow import mlflow_name


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder as MLflow's store: what it offers without a database's libraries."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    mlflow.set_tracking_uri((tmp_path / "store").as_uri())
    yield tmp_path / "store"
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(None)


@pytest.fixture
def client() -> mlflow.MlflowClient:
    return mlflow.MlflowClient()


def artifact(client: mlflow.MlflowClient, run_id: str, place: str) -> Path:
    return Path(client.download_artifacts(run_id, place))


def test_scalars_are_those_that_were_logged(client: mlflow.MlflowClient) -> None:
    logger = MLflowLogger(name="watched")
    assert isinstance(logger, Logger)
    for step in (0, 10):
        logger.scalars({name: value + step for name, value in SCALARS.items()}, step)
    assert client.get_run(logger.run_id).info.status == "RUNNING"
    logger.close()
    run = client.get_run(logger.run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "watched")
    assert set(run.data.metrics) == set(SCALARS)
    for name, value in SCALARS.items():
        history = client.get_metric_history(logger.run_id, name)
        assert [metric.step for metric in history] == [0, 10]
        np.testing.assert_array_equal([metric.value for metric in history], [value, value + 10])


def test_more_numbers_than_mlflow_takes_at_once_are_logged(client: mlflow.MlflowClient) -> None:
    logger = MLflowLogger()
    logger.scalars({f"neuron-{n}": n for n in range(1001)}, 0)
    assert len(client.get_run(logger.run_id).data.metrics) == 1001


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("txray/encoder.layer.0.intermediate/changed", "txray/encoder.layer.0.intermediate/changed"),
        ("a b-c_d.e", "a b-c_d.e"),
        ("layers[0]:mass%", "layers_0__mass_"),
        ("../up", "up"),
        ("/root//twice/./", "root/twice"),
        ("mäß", "mäß"),
        ("", "_"),
        ("..", "_"),
    ],
)
def test_names_are_such_as_mlflow_takes(name: str, kept: str, client: mlflow.MlflowClient) -> None:
    assert mlflow_name(name) == kept
    logger = MLflowLogger()
    logger.scalars({name: 1}, 0)
    assert list(client.get_run(logger.run_id).data.metrics) == [kept]


def test_long_names_are_cut_and_stay_different() -> None:
    names = [mlflow_name("layer/" * 60 + end) for end in ("a", "b")]
    assert max(map(len, names)) <= 250
    assert names[0] != names[1]
    assert names[0].startswith("layer/layer/")


def test_figures_are_pages_that_need_nothing_else(figure: go.Figure, client: mlflow.MlflowClient) -> None:
    logger = MLflowLogger()
    logger.figure("txray/map", figure, 5)
    logger.figure("txray/map", figure, 10)
    assert [each.path for each in client.list_artifacts(logger.run_id, "txray/map")] == [
        "txray/map/step-10.html",
        "txray/map/step-5.html",
    ]
    page = artifact(client, logger.run_id, "txray/map/step-5.html").read_text(encoding="utf-8")
    assert page == to_html(figure, name="txray/map")
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"src=|href=|https?:", markup)
    assert "2 of 3 neurons" in page


def test_tables_are_those_that_were_logged(table: pl.DataFrame, client: mlflow.MlflowClient) -> None:
    logger = MLflowLogger()
    logger.table("txray/changed", table, 5)
    content = json.loads(artifact(client, logger.run_id, "txray/changed/step-5.json").read_text("utf-8"))
    assert content["columns"] == table.columns
    assert [row[2] for row in content["data"]] == list(IN_MARKDOWN)
    assert [row[1] for row in content["data"]][:5] == [0.25, None, None, None, 0.5]


def test_mlflow_reads_and_lists_tables_as_its_own(table: pl.DataFrame, client: mlflow.MlflowClient) -> None:
    pytest.importorskip("pandas")
    logger = MLflowLogger(experiment="other")
    logger.table("txray/changed", table, 5)
    logger.table("txray/empty", pl.DataFrame({"word": []}), 5)
    logger.table("txray/none", pl.DataFrame(), 5)
    run = client.get_run(logger.run_id)
    experiment = run.info.experiment_id
    assert client.get_experiment(experiment).name == "other"
    read = client.load_table(experiment, "txray/changed/step-5.json", [logger.run_id])
    assert list(read["word"]) == list(IN_MARKDOWN)
    assert client.load_table(experiment, "txray/empty/step-5.json", [logger.run_id]).empty
    listed = json.loads(run.data.tags["mlflow.loggedArtifacts"])
    assert [each["path"] for each in listed] == [
        f"txray/{name}/step-5.json" for name in ("changed", "empty", "none")
    ]


def test_more_tables_than_mlflow_lists_are_kept(client: mlflow.MlflowClient) -> None:
    logger = MLflowLogger()
    for step in range(200):
        logger.table("txray/table-of-a-somewhat-long-name", pl.DataFrame({"a": [step]}), step)
    assert len(client.list_artifacts(logger.run_id, "txray/table-of-a-somewhat-long-name")) == 200
    tag = client.get_run(logger.run_id).data.tags["mlflow.loggedArtifacts"]
    # MLflow takes 5000 characters in every store, and 8000 in its own.
    assert len(tag) <= 5000
    assert json.loads(tag)[0]["path"].endswith("/step-0.json")


def test_a_stage_is_kept_as_a_whole(stage_folder: Path, client: mlflow.MlflowClient, tmp_path: Path) -> None:
    logger = MLflowLogger()
    logger.stage(stage_folder, 5)
    with pytest.raises(StageError):
        logger.stage(tmp_path, 6)
    kept = artifact(client, logger.run_id, "txray/stage/step-5")
    assert {file.name: file.read_bytes() for file in kept.iterdir()} == {
        file.name: file.read_bytes() for file in stage_folder.iterdir()
    }
    assert client.get_run(logger.run_id).data.tags["txray.stage.step-5"] == "step 5 <b>"


def test_the_active_run_is_used_and_goes_on(client: mlflow.MlflowClient) -> None:
    with mlflow.start_run() as run:
        logger = MLflowLogger()
        assert logger.run_id == run.info.run_id
        logger.scalars({"ours": 1}, 0)
        logger.close()
        assert mlflow.active_run() is not None
        assert client.get_run(run.info.run_id).info.status == "RUNNING"
        mlflow.log_metric("theirs", 2)
    assert client.get_run(run.info.run_id).data.metrics == {"ours": 1, "theirs": 2}


def test_a_run_of_its_own_is_in_nobodys_way(
    client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "theirs")
    logger = MLflowLogger()
    assert mlflow.active_run() is None
    with mlflow.start_run() as run:
        assert run.info.run_id != logger.run_id
    ours = client.get_run(logger.run_id).info
    assert client.get_experiment(ours.experiment_id).name == "theirs"
    assert ours.status == "RUNNING"


def test_a_run_that_is_named_is_used_and_goes_on(client: mlflow.MlflowClient) -> None:
    with mlflow.start_run():
        named = client.create_run("0").info.run_id
        logger = MLflowLogger(named)
        logger.scalars({"ours": 1}, 0)
        logger.close()
    assert client.get_run(named).data.metrics == {"ours": 1}
    assert client.get_run(named).info.status == "RUNNING"


@pytest.mark.parametrize("options", [{"experiment": "other"}, {"name": "other"}])
def test_what_would_not_be_heeded_is_refused(options: dict[str, Any]) -> None:
    with mlflow.start_run() as run, pytest.raises(UsageError, match=f"{run.info.run_id} exists"):
        MLflowLogger(**options)


def test_a_run_that_is_not_there_is_one_line() -> None:
    with pytest.raises(UsageError, match="nowhere") as caught:
        MLflowLogger("nowhere")
    assert "\n" not in str(caught.value)


def test_a_store_that_cannot_be_used_is_one_line_with_the_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "false")
    mlflow.set_tracking_uri(Path("elsewhere").absolute().as_uri())
    with pytest.raises(UsageError, match="MLFLOW_ALLOW_FILE_STORE=true") as caught:
        MLflowLogger()
    assert "\n" not in str(caught.value)


def test_a_store_that_goes_away_is_one_line(
    store: Path, figure: go.Figure, table: pl.DataFrame, stage_folder: Path
) -> None:
    logger = MLflowLogger()
    store.rename(store.with_name("gone"))
    for work in (
        lambda: logger.scalars({"loss": 0.5}, 1),
        lambda: logger.figure("map", figure, 1),
        lambda: logger.table("changed", table, 1),
        lambda: logger.stage(stage_folder, 1),
        logger.close,
    ):
        with pytest.raises(
            OutputError, match=f"MLflow run {logger.run_id} did not accept the data: "
        ) as caught:
            work()
        assert "\n" not in str(caught.value)
