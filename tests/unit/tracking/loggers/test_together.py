"""One training that is watched, told to all trackers at once and read back from each."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import mlflow
import pytest

from tests.builders.tracking import FAST, Loop, RecordingLogger, spec, untrained
from tests.unit.tracking.loggers import test_tensorboard, test_wandb
from tests.unit.tracking.loggers.test_mlflow import store
from tests.unit.tracking.loggers.test_visdom import Server, server
from tests.unit.tracking.loggers.test_wandb import place
from tests.unit.tracking.loggers.wandb_file import history
from txray.errors import TrackingWarning
from txray.tracking import Tracker
from txray.tracking.loggers import MLflowLogger, TensorBoardLogger, VisdomLogger, WandbLogger

__all__ = ["place", "server", "store"]


def test_every_tracker_holds_the_numbers_figures_tables_and_stages(
    tmp_path: Path, place: Path, store: Path, server: Server
) -> None:
    told = RecordingLogger()
    of_mlflow = MLflowLogger(name="watched")
    of_visdom = VisdomLogger(env="watched", **server.options)
    loggers = [
        told,
        WandbLogger(project="txray"),
        TensorBoardLogger(tmp_path / "board"),
        of_mlflow,
        of_visdom,
    ]
    loop = Loop(untrained())
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrackingWarning)
        tracker = Tracker(spec(), tmp_path / "run", every=2, loggers=loggers, **FAST)
        tracker.begin(loop.model)
        for _ in range(4):
            tracker.step(loop.model, loss=loop.step())
        tracker.end(loop.model)

    names = sorted(told.values[4])
    assert "txray/rnn/token/previous/changed" in names
    expected = {
        name: [(step, told.values[step][name]) for step in (0, 2, 4) if name in told.values[step]]
        for name in names
    }
    figures = {name for name, _ in told.figures}
    assert figures == {
        f"txray/rnn/token/{name}" for name in ("hellinger_length", "timeline", "distances", "flow")
    }

    rows = history(place)
    assert {name: test_wandb.of_ours(rows, name) for name in names} == expected
    drawn = test_wandb.files(place, "plotly")
    assert len(drawn) == len(told.figures)
    assert all(each["data"] and each["layout"]["title"] for each in drawn)
    assert len(test_wandb.files(place, "table")) == len(told.tables)

    board = test_tensorboard.read(tmp_path / "board")
    for name in names:
        found = [(event.step, pytest.approx(event.value, rel=1e-6)) for event in board.Scalars(name)]
        assert found == expected[name]
    assert set(board.Tags()["images"]) == figures

    client = mlflow.MlflowClient()
    for name in names:
        kept = [(metric.step, metric.value) for metric in client.get_metric_history(of_mlflow.run_id, name)]
        assert kept == expected[name]
    pages = [path for path in store.rglob("*.html") if "hellinger_length" in str(path)]
    assert len(pages) == 2
    assert len(list(store.rglob("manifest.json"))) == 3

    for name in names:
        (line,) = server.window(name, "watched")["content"]["data"]
        assert list(zip(line["x"], line["y"], strict=True)) == expected[name]
    for name in figures:
        shown = server.window(name, "watched")["content"]
        assert shown["data"]
        assert json.dumps(shown["layout"]["title"])
