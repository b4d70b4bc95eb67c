from __future__ import annotations

import html
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import polars as pl
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from tests.unit.tracking.loggers.conftest import SCALARS
from txray.errors import StageError
from txray.tracking.loggers import Logger, TensorBoardLogger, tensorboard


def read(folder: Path) -> EventAccumulator:
    """What TensorBoard itself finds in a folder."""
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    found.Reload()
    return found


def text_of(found: EventAccumulator, name: str) -> list[str]:
    return [event.tensor_proto.string_val[0].decode() for event in found.Tensors(f"{name}/text_summary")]


def test_scalars_are_those_that_were_logged(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path)
    assert isinstance(logger, Logger)
    for step in (0, 10):
        logger.scalars({name: value + step for name, value in SCALARS.items()}, step)
    logger.close()
    found = read(tmp_path)
    assert set(found.Tags()["scalars"]) == set(SCALARS)
    for name, value in SCALARS.items():
        events = found.Scalars(name)
        assert [event.step for event in events] == [0, 10]
        np.testing.assert_array_equal([event.value for event in events], np.float32([value, value + 10]))


def test_figures_are_pictures_of_twice_their_size(figure: go.Figure, chromium: str, tmp_path: Path) -> None:
    logger = TensorBoardLogger(str(tmp_path))
    logger.figure("txray/encoder.layer.0/map", figure, 5)
    logger.close()
    (event,) = read(tmp_path).Images("txray/encoder.layer.0/map")
    assert event.step == 5
    with Image.open(BytesIO(event.encoded_image_string)) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (1200, 800))
        assert len(image.getcolors(maxcolors=2**24)) > 20


def test_the_figures_of_a_step_are_drawn_together(
    figure: go.Figure, chromium: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[int] = []
    drawing = tensorboard.to_pngs
    monkeypatch.setattr(
        tensorboard, "to_pngs", lambda figures: starts.append(len(figures)) or drawing(figures)
    )
    logger = TensorBoardLogger(tmp_path)
    for step in (5, 6):
        for name in ("map", "volcano"):
            logger.figure(name, figure, step)
    logger.figure("map", figure, 6)
    logger.close()
    assert starts == [2, 2, 1]
    found = read(tmp_path)
    assert [event.step for event in found.Images("map")] == [5, 6, 6]
    assert [event.step for event in found.Images("volcano")] == [5, 6]


def test_one_figure_that_cannot_be_drawn_costs_no_other(
    figure: go.Figure, chromium: str, tmp_path: Path
) -> None:
    logger = TensorBoardLogger(tmp_path)
    broken = go.Figure()
    broken.to_dict = lambda: {"data": 7}  # type: ignore[method-assign]
    logger.figure("map", figure, 5)
    logger.figure("broken", broken, 5)
    with pytest.warns(UserWarning, match="TensorBoard gets no images: broken"):
        logger.close()
    found = read(tmp_path)
    assert found.Tags()["images"] == ["map"]
    assert "the browser could not draw it" in text_of(found, "broken")[0]


def test_without_a_browser_the_rest_is_logged(
    figure: go.Figure, stage_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "no-browser"))
    logger = TensorBoardLogger(tmp_path / "log")
    logger.figure("map", figure, 5)
    with pytest.warns(UserWarning, match="TensorBoard gets no images: .*BROWSER_PATH") as warned:
        logger.stage(stage_folder, 5)
    assert warned[0].filename == __file__
    with warnings.catch_warnings(action="error"):
        logger.figure("map", figure, 6)
        logger.scalars({"loss": 0.5}, 6)
        logger.close()
    found = read(tmp_path / "log")
    assert found.Tags()["images"] == []
    assert all("needs Chromium" in text for text in text_of(found, "map"))
    assert len(text_of(found, "map")) == 2
    assert found.Scalars("loss")[0].value == 0.5


def test_tables_are_text(table: pl.DataFrame, tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path)
    logger.table("txray/changed", table, 5)
    logger.table("txray/empty", pl.DataFrame(), 5)
    logger.close()
    found = read(tmp_path)
    (text,) = text_of(found, "txray/changed")
    assert "<script" not in text
    assert "<script>alert(1)</script>" in html.unescape(text)
    assert "8 rows" in text
    assert text_of(found, "txray/empty") == ["0 rows"]


def test_of_a_stage_its_place_and_facts_are_told(stage_folder: Path, tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path)
    logger.stage(stage_folder, 5)
    with pytest.raises(StageError):
        logger.stage(tmp_path, 5)
    logger.close()
    (text,) = (html.unescape(each) for each in text_of(read(tmp_path), "txray/stage"))
    for fact in (str(stage_folder), "step 5 <b>", "low (12 neurons)", "token, pos"):
        assert fact in text


def test_a_writer_that_was_given_stays_open(tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path)) as writer:
        writer.add_scalar("theirs", 1.0, 100)
        logger = TensorBoardLogger(writer)
        logger.scalars({"ours": 2.0}, 5)
        logger.close()
        assert read(tmp_path).Scalars("ours")[0].value == 2.0
        writer.add_scalar("theirs", 3.0, 101)
    found = read(tmp_path)
    assert [event.value for event in found.Scalars("theirs")] == [1.0, 3.0]
    assert len(list(tmp_path.iterdir())) == 1
