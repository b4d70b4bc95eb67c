from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import polars as pl
import pytest
import wandb

from tests.builders.hostile import IN_MARKDOWN
from tests.unit.tracking.loggers.conftest import SCALARS
from tests.unit.tracking.loggers.wandb_file import history, records
from txray.errors import OutputError, StageError, UsageError
from txray.plots.plotly_json import plain_figure
from txray.tracking.loggers import Logger, WandbLogger


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Offline, and everything that W&B writes in one folder."""
    for name in ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_CONSOLE", "off")
    # W&B reads its settings once per process.
    wandb.teardown()
    yield tmp_path / "WANDB_DIR"
    wandb.teardown()


def files(place: Path, kind: str) -> list[Any]:
    """What was logged as media of a kind, in order."""
    return [
        json.loads(file.read_text(encoding="utf-8"))
        for file in sorted(place.rglob(f"files/media/{kind}/**/*.json"))
    ]


def of_ours(rows: list[dict[str, Any]], name: str) -> list[tuple[int, Any]]:
    return [(row["txray/step"], row[name]) for row in rows if name in row]


def of_theirs(rows: list[dict[str, Any]], name: str = "loss") -> list[tuple[int, Any]]:
    return [(row["_step"], row[name]) for row in rows if name in row]


def test_scalars_are_those_that_were_logged(place: Path) -> None:
    logger = WandbLogger(project="txray")
    assert isinstance(logger, Logger)
    for step in (0, 10, 20):
        logger.scalars({name: value + step for name, value in SCALARS.items()}, step)
    logger.close()
    rows = history(place)
    for name, value in SCALARS.items():
        steps, values = zip(*of_ours(rows, name), strict=True)
        assert steps == (0, 10, 20)
        assert values == pytest.approx([value, value + 10, value + 20], rel=1e-12, nan_ok=True)


def test_everything_is_drawn_over_its_own_step(place: Path) -> None:
    logger = WandbLogger()
    logger.scalars({"txray/a": 1, "elsewhere": 2}, 7)
    logger.close()
    told = {
        each.metric.name or each.metric.glob_name: each.metric
        for each in records(place)
        if each.WhichOneof("record_type") == "metric"
    }
    assert told["txray/*"].step_metric == "txray/step"
    assert told["elsewhere"].step_metric == "txray/step"
    assert told["txray/step"].options.hidden


def test_figures_stay_interactive(figure: go.Figure, place: Path) -> None:
    logger = WandbLogger()
    logger.figure("txray/encoder.layer.0/map", figure, 5)
    logger.close()
    (logged,) = files(place, "plotly")
    plain = plain_figure(figure)
    assert logged["data"] == plain["data"]
    assert logged["layout"] == plain["layout"]
    (row,) = history(place)
    assert row["txray/step"] == 5
    assert row["txray/encoder.layer.0/map/_type"] == "plotly-file"


def test_tables_are_those_that_were_logged(table: pl.DataFrame, place: Path) -> None:
    logger = WandbLogger()
    logger.table("txray/changed", table, 5)
    logger.close()
    (logged,) = files(place, "table")
    assert logged["columns"] == table.columns
    assert [row[2] for row in logged["data"]] == list(IN_MARKDOWN)
    assert [row[1] for row in logged["data"]][:5] == [0.25, None, None, None, 0.5]
    (row,) = history(place)
    assert row["txray/changed/nrows"] == len(IN_MARKDOWN)


@pytest.mark.parametrize("empty", [pl.DataFrame(), pl.DataFrame({"word": []})])
def test_empty_tables_are_kept(empty: pl.DataFrame, place: Path) -> None:
    logger = WandbLogger()
    logger.table("txray/changed", empty, 5)
    logger.close()
    assert files(place, "table") == [{"columns": empty.columns, "data": []}]


def test_a_stage_is_an_artifact(stage_folder: Path, place: Path, tmp_path: Path) -> None:
    logger = WandbLogger()
    run_id = logger.run.id
    logger.stage(stage_folder, 5)
    with pytest.raises(StageError):
        logger.stage(tmp_path, 6)
    logger.close()
    (artifact,) = (each.artifact for each in records(place) if each.WhichOneof("record_type") == "artifact")
    assert (artifact.type, artifact.name) == ("stage", f"stage-{run_id}")
    assert set(artifact.aliases) == {"latest", "step-5", "step_5__b_"}
    assert json.loads(artifact.metadata)["stage"] == "step 5 <b>"
    assert json.loads(artifact.metadata)["step"] == 5
    kept = {entry.path: Path(entry.local_path).read_bytes() for entry in artifact.manifest.contents}
    assert kept == {file.name: file.read_bytes() for file in stage_folder.iterdir()}


def test_a_run_that_was_given_goes_on(place: Path) -> None:
    with wandb.init() as run:
        logger = WandbLogger(run)
        logger.scalars({"txray/a": 1}, 5)
        logger.close()
        run.log({"loss": 0.5})
    rows = history(place)
    assert of_theirs(rows) == [(0, 0.5)]
    assert of_ours(rows, "txray/a") == [(5, 1)]


def test_a_run_of_its_own_is_in_nobodys_way() -> None:
    with wandb.init() as run:
        logger = WandbLogger()
        assert logger.run.id != run.id
        assert wandb.run is run
        logger.close()
        run.log({"loss": 0.5})


def test_options_and_a_run_contradict_each_other() -> None:
    with wandb.init() as run, pytest.raises(UsageError, match=r"\(project\).*wandb.init"):
        WandbLogger(run, project="other")


def test_nothing_is_lost_where_people_count_slower_steps(place: Path) -> None:
    with wandb.init() as run:
        logger = WandbLogger(run)
        for step in range(12):
            logger.scalars({"txray/a": step / 8}, step)
            logger.scalars({"txray/b": -step}, step)
            if step % 4 == 3:
                run.log({"loss": step}, step=step // 4)
        logger.close()
    rows = history(place)
    assert of_theirs(rows) == [(0, 3), (1, 7), (2, 11)]
    assert of_ours(rows, "txray/a") == [(step, step / 8) for step in range(12)]
    assert of_ours(rows, "txray/b") == [(step, -step) for step in range(12)]


def test_nothing_waits_where_people_leave_steps_to_wandb(place: Path) -> None:
    with wandb.init() as run:
        logger = WandbLogger(run)
        run.log({"loss": 0.5})
        for step in range(6):
            logger.scalars({"txray/a": step}, step)
        moved = run.step
        run.log({"loss": 0.25})
        logger.close()
    assert moved == 6
    rows = history(place)
    assert of_ours(rows, "txray/a") == [(step, step) for step in range(6)]
    assert [value for _, value in of_theirs(rows)] == [0.5, 0.25]


def test_nothing_waits_in_a_run_of_its_own() -> None:
    logger = WandbLogger()
    for step in range(6):
        logger.scalars({"txray/a": step}, step)
    assert logger.run.step == 5
    logger.close()


def test_people_who_count_like_the_training_are_not_disturbed(place: Path) -> None:
    with wandb.init() as run:
        logger = WandbLogger(run)
        for step in range(0, 50, 5):
            if step % 10 == 0:
                logger.scalars({"txray/a": step}, step)
            run.log({"loss": step}, step=step)
        logger.close()
    rows = history(place)
    assert of_theirs(rows) == [(step, step) for step in range(0, 50, 5)]
    assert of_ours(rows, "txray/a") == [(step, step) for step in range(0, 50, 10)]


def test_a_run_that_has_ended_is_one_line_at_once(figure: go.Figure, stage_folder: Path) -> None:
    with wandb.init() as run:
        logger, done = WandbLogger(run), WandbLogger(run)
        done.scalars({"txray/b": 0}, 0)
        for step in range(2):
            logger.scalars({"txray/a": step}, step)
    began = time.monotonic()
    for work in (
        lambda: logger.scalars({"txray/a": 2}, 2),
        lambda: logger.figure("txray/map", figure, 2),
        lambda: logger.stage(stage_folder, 2),
        logger.close,
    ):
        with pytest.raises(
            OutputError, match=f"W&B run {run.id} did not accept the data: .*finished"
        ) as caught:
            work()
        assert "\n" not in str(caught.value)
    done.close()
    assert time.monotonic() - began < 10


def test_a_disabled_run_takes_everything(figure: go.Figure, table: pl.DataFrame, stage_folder: Path) -> None:
    logger = WandbLogger(mode="disabled")
    logger.scalars({"txray/nan": math.nan}, 0)
    logger.figure("txray/map", figure, 1)
    logger.table("txray/changed", table, 2)
    logger.stage(stage_folder, 3)
    logger.close()
