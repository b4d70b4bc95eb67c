from __future__ import annotations

import html
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import polars as pl
import pytest
import visdom

from tests.builders.hostile import IN_MARKDOWN
from txray.errors import OutputError, StageError, UsageError
from txray.plots.plotly_json import plain_figure
from txray.plots.text import sanitize
from txray.tracking.loggers import Logger, VisdomLogger

SERVER = Path(__file__).with_name("visdom_server.py")
_PATIENCE = 60
"""Seconds for a server to come up."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Server:
    """A server, and what it shows."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.folder = folder
        self.log = folder.with_suffix(".log")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(SERVER), str(self.port), str(folder)],
                env={**os.environ, "XDG_CONFIG_HOME": str(folder)},
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _PATIENCE
        while socket.socket().connect_ex(("127.0.0.1", self.port)):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)
        self.options: dict[str, Any] = {"server": "http://127.0.0.1", "port": self.port}
        self.client = visdom.Visdom(use_incoming_socket=False, raise_exceptions=True, **self.options)

    def window(self, name: str, env: str = "main") -> dict[str, Any]:
        window: dict[str, Any] = json.loads(self.client.get_window_data(name, env))
        return window

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("visdom") / "environments")
    yield running
    running.end()


@pytest.fixture
def logger(server: Server, request: pytest.FixtureRequest) -> VisdomLogger:
    """Writes into an environment of the test's own."""
    return VisdomLogger(env=request.node.name, **server.options)


def test_scalars_are_lines_that_grow(server: Server, logger: VisdomLogger) -> None:
    assert isinstance(logger, Logger)
    name = "txray/encoder.layer.0.intermediate/changed"
    for step, value in enumerate([0.5, float("nan"), float("inf"), 0.75]):
        logger.scalars({name: value, "other": -1}, 10 * step)
    window = server.window(name, logger.client.env)
    (line,) = window["content"]["data"]
    assert line["x"] == [0, 10, 20, 30]
    assert line["y"] == [0.5, None, None, 0.75]
    assert window["title"] == name
    assert "Visdom-Socket-Thread" not in [thread.name for thread in threading.enumerate()]
    assert server.window("other", logger.client.env)["content"]["data"][0]["y"] == [-1] * 4


def test_a_line_may_begin_with_a_gap(server: Server, logger: VisdomLogger) -> None:
    logger.scalars({"loss": float("nan")}, 0)
    logger.scalars({"loss": 1}, 1)
    assert server.window("loss", logger.client.env)["content"]["data"][0]["y"] == [None, 1]


def test_figures_stay_interactive_and_show_the_latest(
    figure: go.Figure, server: Server, logger: VisdomLogger
) -> None:
    logger.figure("txray/map", go.Figure(), 0)
    assert server.window("txray/map", logger.client.env)["title"] == "txray/map"
    logger.figure("txray/map", figure, 5)
    window = server.window("txray/map", logger.client.env)
    plain, layout = plain_figure(figure), window["content"]["layout"]
    assert window["content"]["data"] == plain["data"]
    assert {**layout, "title": 0, "annotations": 0} == {**plain["layout"], "title": 0, "annotations": 0}
    # The bar of a window shows markup as it is written, so it gets the name, and the figure keeps its title.
    assert window["title"] == "txray/map"
    assert [note["text"] for note in layout["annotations"]] == ["2 of 3 neurons"]
    assert "bdata" not in json.dumps(window)


def test_tables_are_text(table: pl.DataFrame, server: Server, logger: VisdomLogger) -> None:
    logger.table("txray/changed", table, 5)
    window = server.window("txray/changed", logger.client.env)
    assert window["type"] == "text"
    assert window["title"] == "txray/changed, step 5"
    assert "<script" not in window["content"]
    for word in IN_MARKDOWN:
        assert f"<td>{sanitize(word)}</td>" in html.unescape(window["content"])
    logger.table("txray/changed", pl.DataFrame(), 6)
    assert "0 rows" in server.window("txray/changed", logger.client.env)["content"]


def test_of_a_stage_its_place_and_facts_are_told(
    stage_folder: Path, server: Server, logger: VisdomLogger, tmp_path: Path
) -> None:
    logger.stage(stage_folder, 5)
    with pytest.raises(StageError):
        logger.stage(tmp_path, 6)
    content = server.window("txray/stage", logger.client.env)["content"]
    assert "<td>step 5 &lt;b&gt;</td>" in content
    assert str(stage_folder) in html.unescape(content)


def test_closing_saves_the_windows(server: Server, logger: VisdomLogger) -> None:
    logger.scalars({"loss": 0.5}, 0)
    file = server.folder / f"{logger.client.env}.json"
    assert not file.exists()
    logger.close()
    assert json.loads(file.read_text())["jsons"]["loss"]["content"]["data"][0]["y"] == [0.5]


def test_a_client_that_was_given_is_used(server: Server) -> None:
    client = visdom.Visdom(env="given", use_incoming_socket=False, **server.options)
    logger = VisdomLogger(client)
    assert logger.client is client
    logger.scalars({"loss": 0.5}, 0)
    assert server.window("loss", "given")["content"]["data"][0]["y"] == [0.5]
    with pytest.raises(UsageError, match=r"\(env\).*visdom.Visdom"):
        VisdomLogger(client, env="other")


def test_without_a_server_a_file_is_written_that_a_server_shows(
    figure: go.Figure, table: pl.DataFrame, server: Server, tmp_path: Path
) -> None:
    file = tmp_path / "visdom.log"
    logger = VisdomLogger(offline=True, log_to_filename=str(file), env="replayed")
    for step in range(3):
        logger.scalars({"loss": step / 4}, step)
    logger.figure("map", figure, 2)
    logger.table("changed", table, 2)
    logger.close()
    server.client.replay_log(str(file))
    window = server.window("loss", "replayed")
    assert window["content"]["data"][0]["y"] == [0, 0.25, 0.5]
    assert window["content"]["layout"]["xaxis"]["title"] == "step"
    assert server.window("map", "replayed")["content"]["data"] == plain_figure(figure)["data"]
    assert server.window("changed", "replayed")["type"] == "text"


def test_no_server_is_one_line_at_once(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    began = time.monotonic()
    port = free_port()
    with pytest.raises(
        UsageError, match=f"no visdom server answers at http://localhost:{port} .*refused"
    ) as e:
        VisdomLogger(port=port)
    assert time.monotonic() - began < 5
    assert "\n" not in str(e.value)
    assert capfd.readouterr() == ("", "")
    assert caplog.messages == []


@pytest.mark.parametrize("options", [{"offline": True}, {"base_url": "no-slash"}])
def test_options_that_visdom_refuses_are_one_line(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"^VisdomLogger: ") as caught:
        VisdomLogger(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("raises", [True, False])
def test_a_server_that_goes_away_is_one_line(raises: bool, tmp_path: Path) -> None:
    server = Server(tmp_path / "environments")
    logger = VisdomLogger(raise_exceptions=raises, **server.options)
    logger.scalars({"loss": 0.5}, 0)
    server.end()
    for work in (
        lambda: logger.scalars({"loss": 0.5}, 1),
        lambda: logger.figure("map", go.Figure(), 1),
        lambda: logger.table("changed", pl.DataFrame(), 1),
        logger.close,
    ):
        with pytest.raises(OutputError, match=f":{server.port} did not accept the data") as caught:
            work()
        assert "\n" not in str(caught.value)


def test_an_error_of_the_server_is_no_answer(logger: VisdomLogger) -> None:
    with pytest.raises(OutputError, match="500 Server Error"):
        logger._send("update_window_opts", "nothing", {"title": "x"}, env="nowhere")
