"""Serving over HTTP: which address, who may ask, how it ends."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import pytest

import txray
from tests.builders.layered_stages import AFTER, BEFORE, stage_of
from tests.unit.web.dashboard.conftest import until
from txray.errors import ExposedWarning, StageError, UsageError
from txray.preferences import Stage, StageFolder
from txray.web.dashboard import Dashboard, server

Serve = Callable[..., Dashboard]


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Serves without waiting, and closes in the end."""
    monkeypatch.setattr("txray.web.dashboard.server.PORT", _free_port())
    made: list[Dashboard] = []

    def begin(*stages: Any, **options: Any) -> Dashboard:
        made.append(txray.serve(*stages, **{"wait": False, "cache": tmp_path / "cache", **options}))
        return made[-1]

    yield begin
    for each in made:
        each.close()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def get(url: str, opener: urllib.request.OpenerDirector | None = None) -> tuple[int, str]:
    """Code and text of an answer."""
    direct = opener or urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_folders_are_served_on_this_machine(serve: Serve, folders: list[Path]) -> None:
    dashboard = serve(folders[0], str(folders[1]))
    assert dashboard.url == f"http://127.0.0.1:{server.PORT}/"
    code, text = get(dashboard.url)
    assert code == 200
    assert "<title>txray</title>" in text
    answers = []

    def ready() -> bool:
        answers.append(json.loads(get(f"{dashboard.url}rows/neurons?number=2")[1]))
        return "waiting" not in answers[-1]

    until(ready, "rows")
    assert answers[-1]["total"] == 21
    assert len(answers[-1]["rows"]) == 2
    assert repr(dashboard) == f"Dashboard({dashboard.url!r})"


def test_a_folder_of_stages_stands_for_them(serve: Serve, folders: list[Path]) -> None:
    dashboard = serve(folders[0].parent)
    assert [stage.name for stage in dashboard._store.catalog] == ["start", BEFORE, AFTER, "wide"]


def test_stages_are_served_without_a_folder_of_their_own(
    serve: Serve, stages: dict[str, Stage], folders: list[Path]
) -> None:
    dashboard = serve(stages["start"], folders[1])
    (place,) = (Path(folder.name) for folder in dashboard._folders)
    assert place.is_dir()
    assert [stage.name for stage in dashboard._store.catalog] == ["start", "unsup"]
    assert get(dashboard.url)[0] == 200
    dashboard.close()
    assert not place.exists()


def test_close_ends_it(serve: Serve, folders: list[Path]) -> None:
    with serve(folders[0]) as dashboard:
        get(f"{dashboard.url}rows/neurons")
        until(lambda: dashboard._store.job_status()[0].pid, "a process")
        pid = dashboard._store.job_status()[0].pid
        assert pid is not None
    with pytest.raises(OSError, match="refused"):
        get(dashboard.url)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not dashboard._thread.is_alive()
    dashboard.close()


def test_the_thread_that_serves_ends_without_an_error(
    serve: Serve, folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[Any] = []
    monkeypatch.setattr("threading.excepthook", failed.append)
    for _ in range(8):
        dashboard = serve(folders[0])
        get(dashboard.url)
        dashboard.close()
    assert failed == []


def test_sockets_are_closed_by_the_thread_that_waits_for_them(
    serve: Serve, folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    dashboard = serve(folders[0])
    close, closed_by = dashboard._server.close, []

    def closed() -> None:
        closed_by.append(threading.current_thread())
        close()

    monkeypatch.setattr(dashboard._server, "close", closed)
    dashboard.close()
    dashboard.close()
    assert closed_by == [dashboard._thread]


def test_a_browser_that_keeps_its_connection_is_told_of_the_end(serve: Serve, folders: list[Path]) -> None:
    dashboard = serve(folders[0])
    connection = http.client.HTTPConnection("127.0.0.1", server.PORT, timeout=30)
    connection.request("GET", "/dashboard.css")
    assert connection.getresponse().read()
    dashboard.close()
    assert not dashboard._thread.is_alive()
    assert connection.sock is not None
    assert connection.sock.recv(1) == b""


def test_waiting_ends_with_an_interrupt(
    serve: Serve, folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    dashboard = serve(folders[0])

    join, interrupted = dashboard._thread.join, []

    def interrupt(timeout: float) -> None:
        if not interrupted:
            interrupted.append(timeout)
            raise KeyboardInterrupt
        join(timeout)

    monkeypatch.setattr(dashboard._thread, "join", interrupt)
    dashboard.wait()
    assert len(interrupted) == 1
    with pytest.raises(OSError, match="refused"):
        get(dashboard.url)


def test_a_default_port_that_is_taken_is_passed_over(serve: Serve, folders: list[Path]) -> None:
    first = serve(folders[0])
    second = serve(folders[0])
    ports = [int(each.url.rstrip("/").rpartition(":")[2]) for each in (first, second)]
    assert ports[0] == server.PORT
    assert ports[0] < ports[1] < server.PORT + 50
    assert [get(each.url)[0] for each in (first, second)] == [200, 200]


def test_a_port_that_was_asked_for_and_is_taken_is_an_error(serve: Serve, folders: list[Path]) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot listen at 127.0.0.1, port {port} .*in use") as caught:
            serve(folders[0], port=port)
    assert "another --port or --host" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert get(serve(folders[0], port=port).url)[0] == 200


@pytest.mark.parametrize("port", [-1, 65_536, 10**9])
def test_a_port_that_cannot_be_is_an_error(port: int, serve: Serve, folders: list[Path]) -> None:
    with pytest.raises(UsageError, match=f"port {port}; it must lie between 0 and 65535"):
        serve(folders[0], port=port)


def test_a_host_that_cannot_be_found_is_asked_for_once(
    serve: Serve, folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Listener(socket.socket):
        def bind(self, address: Any) -> None:
            asked.append(address)
            raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr("txray.web.dashboard.server.socket.socket", Listener)
    with (
        warnings.catch_warnings(action="ignore"),
        pytest.raises(UsageError, match="cannot listen at nowhere.invalid, port .*not known"),
    ):
        serve(folders[0], host="nowhere.invalid")
    assert len(asked) == 1


def test_other_machines_need_the_token(serve: Serve, folders: list[Path]) -> None:
    with pytest.warns(ExposedWarning, match="other machines can connect.*forward the port by ssh") as warned:
        dashboard = serve(folders[0], host="0.0.0.0")
    assert warned[0].filename == __file__
    bare, _, token = dashboard.url.partition("?token=")
    assert bare.startswith("http://127.0.0.1:")
    assert len(token) >= 32
    assert get(bare)[0] == 401
    assert get(f"{bare}rows/neurons?token={token[:-1]}")[0] == 401
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(CookieJar())
    )
    assert get(dashboard.url, opener)[0] == 200
    assert get(f"{bare}look.css", opener)[0] == 200
    assert serve_token(serve, folders) != token


def serve_token(serve: Serve, folders: list[Path]) -> str:
    with pytest.warns(ExposedWarning):
        return serve(folders[0], host="0.0.0.0").url.partition("?token=")[2]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_needs_none_and_is_not_warned(host: str, serve: Serve, folders: list[Path]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ExposedWarning)
        dashboard = serve(folders[0], host=host)
    assert "token" not in dashboard.url
    assert get(dashboard.url)[0] == 200


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"weight": "heavy"}, "weight 'heavy'; it must be one of mean, mass, count"),
        ({"fdr": 0.0}, "fdr=0.0, permutations=10000; fdr must lie between 0 and 1"),
        ({"fdr": 1}, "fdr=1"),
        ({"fdr": float("nan")}, "fdr=nan"),
        (
            {"permutations": -1},
            "permutations=-1; fdr must lie between 0 and 1, permutations must not be negative",
        ),
    ],
)
def test_choices_that_cannot_be_are_errors(
    options: dict[str, Any], told: str, serve: Serve, folders: list[Path]
) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        serve(folders[0], **options)
    assert "\n" not in str(caught.value)


def test_stages_that_cannot_be_served_are_errors(
    serve: Serve, folders: list[Path], tmp_path: Path, stages: dict[str, Stage]
) -> None:
    with pytest.raises(UsageError, match="no stage; name at least one"):
        serve()
    with pytest.raises(UsageError, match="several stages are named 'start'"):
        serve(folders[0], stages["start"])
    with pytest.raises(StageError, match="not a stage folder"):
        serve(tmp_path)


@pytest.mark.parametrize("wrong", [None, 3, ["stages/sup"]])
def test_what_is_not_a_stage_is_an_error(wrong: Any, serve: Serve) -> None:
    with pytest.raises(UsageError, match="expected one stage, got (None|a int|a list); pass a Stage, "):
        serve(wrong)


def test_open_folders_are_served(serve: Serve, folders: list[Path]) -> None:
    assert get(serve(StageFolder.open(folders[0])).url)[0] == 200


def test_in_a_notebook_it_shows_itself(serve: Serve, folders: list[Path]) -> None:
    dashboard = serve(folders[0])
    dashboard.url += '?a="><script>'
    html = dashboard._repr_html_()
    assert f'<iframe src="http://127.0.0.1:{server.PORT}/?a=&quot;&gt;&lt;script&gt;"' in html
    assert 'title="txray dashboard"' in html
    assert "<script" not in html
    assert 'rel="noopener"' in html


def test_outside_of_a_notebook_serving_waits(
    serve: Serve, folders: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waited = []
    monkeypatch.setattr(Dashboard, "wait", lambda self: waited.append(self.url))
    dashboard = serve(folders[0], wait=None)
    assert waited == [dashboard.url]
    assert dashboard.url in capsys.readouterr().err

    class ZMQInteractiveShell:
        pass

    class Notebook:
        @staticmethod
        def get_ipython() -> ZMQInteractiveShell:
            return ZMQInteractiveShell()

    monkeypatch.setitem(__import__("sys").modules, "IPython", Notebook)
    serve(folders[0], wait=None)
    assert len(waited) == 1


def test_old_results_are_removed_when_serving_begins(
    serve: Serve, folders: list[Path], tmp_path: Path
) -> None:
    old = tmp_path / "cache" / "v1" / "stages" / "old"
    old.mkdir(parents=True)
    os.utime(old, (0, 0))
    serve(folders[0])
    assert not old.exists()


def test_a_stage_made_by_hand_is_served(serve: Serve) -> None:
    assert get(serve(stage_of("by hand", hostile=False)).url)[0] == 200
