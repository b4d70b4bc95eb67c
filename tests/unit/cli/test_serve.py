"""`txray serve`: options, and one line for every mistake."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import txray.web.dashboard
from tests.builders.layered_stages import stage_of
from txray.cli.main import _exit_code
from txray.errors import ExposedWarning


class Served:
    """A dashboard that nobody serves."""

    url = "http://127.0.0.1:9/"

    def __init__(self) -> None:
        self.asked: tuple[Any, ...] = ()
        self.options: dict[str, Any] = {}
        self.waited = False
        self.launched: list[str] = []

    def serve(self, *stages: Any, **options: Any) -> Served:
        self.asked, self.options = stages, options
        return self

    def wait(self) -> None:
        self.waited = True

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing to close."""


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Served:
    made = Served()
    monkeypatch.setattr(txray.web.dashboard, "serve", made.serve)
    monkeypatch.setattr("typer.launch", made.launched.append)
    return made


def run(*arguments: object) -> int:
    return _exit_code(["serve", *map(str, arguments)])


def test_options_reach_the_dashboard(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [stage_of(name, n_words=50).save(tmp_path / name) for name in ("b", "a")]
    chosen = (
        "--host",
        "localhost",
        "--port",
        8123,
        "--weight",
        "mass",
        "--fdr",
        0.1,
        "--permutations",
        9,
        "--seed",
        7,
        "--min-effect",
        0.2,
    )
    chosen += ("--cache", tmp_path / "c", "--pruning", tmp_path / "p", "--pruning", tmp_path / "q")
    assert run(*folders, *chosen, "--no-browser") == 0
    assert served.asked == tuple(folders)
    assert served.options == {
        "host": "localhost",
        "port": 8123,
        "weight": "mass",
        "fdr": 0.1,
        "permutations": 9,
        "seed": 7,
        "min_effect": 0.2,
        "cache": tmp_path / "c",
        "prunings": [tmp_path / "p", tmp_path / "q"],
        "wait": False,
    }
    assert served.waited
    assert served.launched == []
    told = capsys.readouterr()
    assert told.out == f"{Served.url}\n"
    assert "Ctrl-C" in told.err


def test_defaults_keep_it_on_this_machine_and_open_the_browser(served: Served, tmp_path: Path) -> None:
    stage_of("a", n_words=50).save(tmp_path / "stages" / "a")
    assert run(tmp_path) == 0
    assert served.asked == (tmp_path,)
    assert (served.options["host"], served.options["port"]) == ("127.0.0.1", None)
    assert (served.options["weight"], served.options["fdr"]) == ("mean", 0.05)
    assert served.launched == [Served.url]


def test_without_stages_there_is_a_demo(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("txray.web.dashboard.demo.demo_stages", lambda log: [tmp_path / "demo"])
    assert run("--no-browser") == 0
    assert served.asked == (tmp_path / "demo",)


@pytest.mark.parametrize("name", ["missing", "empty", "file"])
def test_a_wrong_folder_is_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("no stage")
    assert run(tmp_path / name, "--no-browser", "--cache", tmp_path / "cache") == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert str(tmp_path / name) in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (("--weight", "heavy"), "heavy"),
        (("--fdr", "2"), "fdr"),
        (("--permutations", "-3"), "permutations"),
        (("--port", "99999"), "65535"),
        (("--port", "many"), "port"),
    ],
)
def test_a_wrong_option_is_a_wrong_request(
    wrong: tuple[str, str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = stage_of("a", n_words=50).save(tmp_path / "a")
    assert run(folder, *wrong, "--no-browser", "--cache", tmp_path / "cache") == 2
    error = capsys.readouterr().err
    assert told in error
    assert "Traceback" not in error


def test_an_exposed_dashboard_is_warned_of_in_one_line(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = stage_of("a", n_words=50).save(tmp_path / "a")

    def exposed(*_: Any, **__: Any) -> Served:
        import warnings

        warnings.warn("other machines can reach it", ExposedWarning, stacklevel=2)
        return served

    monkeypatch.setattr(txray.web.dashboard, "serve", exposed)
    assert run(folder, "--no-browser") == 0
    told = capsys.readouterr().err
    assert "other machines can reach it" in told
    assert ".py" not in told


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="a terminal's Ctrl-C is sent to a Unix process group")
def test_ctrl_c_ends_it_without_a_word(tmp_path: Path) -> None:
    folder = stage_of("a", n_words=50).save(tmp_path / "a")
    # As in a terminal: a process group of its own, and all that belong to it are interrupted, whatever they do.
    begin = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from txray.cli.main import run"
    arguments = ["serve", str(folder), "--no-browser", "--cache", str(tmp_path / "cache")]
    server = subprocess.Popen(
        [sys.executable, "-c", f"{begin}; run()", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert server.stdout is not None
    assert server.stdout.readline().startswith("http://127.0.0.1:")
    # By now there is a process that reads the stage; until it has ended, too, nothing below comes to an end.
    os.killpg(server.pid, signal.SIGINT)
    _, told = server.communicate(timeout=60)
    assert told in ("", "Press Ctrl-C to stop.\n")
    assert server.returncode == 0
