"""The process that works, killed and out of turn."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.web.dashboard.conftest import until
from txray.errors import TxrayError
from txray.web.dashboard.cache import read_result
from txray.web.dashboard.jobs.process import main
from txray.web.dashboard.jobs.worker import Job, JobPending, JobWorker


@pytest.fixture
def process() -> Iterator[JobWorker]:
    made = JobWorker("test")
    yield made
    made.close()


def request(folder: Path, place: Path, name: str, *, kind: str = "pos", urgent: bool = True) -> Job:
    """A digest of a stage."""
    out = place / f"{name}.parquet"
    arguments = {
        "neurons": str(out),
        "postings": str(place / f"{name}-postings.parquet"),
        "stage": str(folder),
        "kind": kind,
        "weight": "mean",
    }
    return Job("digest", out, arguments, f"reading {name}", "layers", urgent)


def child_of(process: JobWorker) -> int:
    """The id of the process that works."""
    until(lambda: process._child, "a process")
    assert process._child is not None
    return process._child.pid


def done(process: JobWorker, wanted: Job) -> None:
    """Have it done."""
    process.ask(wanted)
    until(wanted.out.is_file, wanted.told)
    until(lambda: not process.doing(), "rest")


def gone(pid: int) -> bool:
    """Whether a process has ended, and was waited for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_process_imports_nothing_from_the_working_folder(
    process: JobWorker, folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("polars", "json", "numpy", "pkgutil"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    # Python takes an empty entry for the working folder.
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", "") + os.pathsep)
    done(process, request(folders[0].resolve(), tmp_path, "a"))
    assert not (tmp_path / "imported").exists()


def test_what_is_asked_for_is_made_and_counted(
    process: JobWorker, folders: list[Path], tmp_path: Path
) -> None:
    wanted = request(folders[0], tmp_path, "a")
    with pytest.raises(JobPending, match="reading a"):
        process.wait(wanted)
    until(lambda: process.finished == 1, "an end")
    assert len(read_result(wanted.out)) == 21
    assert process.problem(wanted) == ""
    process.ask(wanted)
    assert process.doing() == []
    assert process.finished == 1


def test_no_process_is_started_without_work(process: JobWorker, folders: list[Path], tmp_path: Path) -> None:
    wanted = request(folders[0], tmp_path, "a")
    wanted.out.write_bytes(b"it is there")
    process.ask(wanted)
    assert process._thread is None
    process.close()
    process.ask(request(folders[0], tmp_path, "b"))
    assert process._thread is None


def test_urgent_requests_overtake(process: JobWorker, folders: list[Path], tmp_path: Path) -> None:
    done(process, request(folders[0], tmp_path, "start"))
    pid = child_of(process)
    os.kill(pid, signal.SIGSTOP)
    process.ask(request(folders[0], tmp_path, "current", urgent=False))
    until(lambda: process.doing() == ["reading current"], "the first request")
    names = {"a": False, "b": False, "c": True}
    for name, urgent in names.items():
        process.ask(request(folders[0], tmp_path, name, urgent=urgent))
    # Somebody who waited for nothing waits now.
    process.ask(request(folders[0], tmp_path, "b"))
    # That nobody waits any more for what was urgent is not known.
    process.ask(request(folders[0], tmp_path, "c", urgent=False))
    assert process.doing() == ["reading current, 3 more to do"]
    os.kill(pid, signal.SIGCONT)
    until(lambda: process.finished == 5, "everything")
    files = [tmp_path / f"{name}.parquet" for name in ("current", "c", "b", "a")]
    assert sorted(files, key=lambda file: file.stat().st_mtime_ns) == files


def test_a_killed_process_is_told_in_one_line_and_replaced(
    process: JobWorker, folders: list[Path], tmp_path: Path
) -> None:
    done(process, request(folders[0], tmp_path, "start"))
    pid, wanted = child_of(process), request(folders[0], tmp_path, "b")
    os.kill(pid, signal.SIGSTOP)
    process.ask(wanted)
    until(process.doing, "the request")
    os.kill(pid, signal.SIGKILL)
    until(lambda: process.problem(wanted), "a problem")
    with pytest.raises(TxrayError, match=r"reading b: the process that does it ended \(code -9") as caught:
        process.wait(wanted)
    assert "\n" not in str(caught.value)
    assert gone(pid)
    # Not tried again by itself, and no obstacle for others.
    process.ask(wanted)
    done(process, request(folders[0], tmp_path, "c"))
    assert not wanted.out.exists()
    process.forget()
    done(process, wanted)
    assert child_of(process) != pid


def test_a_process_that_died_at_rest_is_told_of_and_replaced(
    process: JobWorker, folders: list[Path], tmp_path: Path
) -> None:
    done(process, request(folders[0], tmp_path, "start"))
    pid, wanted = child_of(process), request(folders[0], tmp_path, "b")
    os.kill(pid, signal.SIGKILL)
    process.ask(wanted)
    until(lambda: process.problem(wanted), "a problem")
    assert "reload to try again" in process.problem(wanted)
    process.forget()
    done(process, wanted)


@pytest.mark.parametrize("state", ["at rest", "at work"])
def test_closing_leaves_no_process(
    state: str, process: JobWorker, folders: list[Path], tmp_path: Path
) -> None:
    done(process, request(folders[0], tmp_path, "start"))
    pid, wanted = child_of(process), request(folders[0], tmp_path, "b")
    if state == "at work":
        os.kill(pid, signal.SIGSTOP)
        process.ask(wanted)
        process.ask(request(folders[0], tmp_path, "c"))
        until(process.doing, "the request")
    thread = process._thread
    process.close()
    assert gone(pid)
    assert thread is not None
    assert not thread.is_alive()
    assert process.problem(wanted) == ""
    assert not wanted.out.exists()
    process.close()


def test_closing_while_the_process_starts_leaves_none(
    process: JobWorker, folders: list[Path], tmp_path: Path
) -> None:
    process.ask(request(folders[0], tmp_path, "a"))
    pid = child_of(process)
    process.close()
    assert gone(pid)


@pytest.mark.skipif(not hasattr(os, "getpgid"), reason="a terminal's Ctrl-C is sent to a Unix process group")
def test_ctrl_c_in_the_terminal_does_not_reach_the_process(
    process: JobWorker, folders: list[Path], tmp_path: Path
) -> None:
    done(process, request(folders[0], tmp_path, "a"))
    assert os.getpgid(child_of(process)) != os.getpgid(0)


def answers_to(*requests: dict[str, Any]) -> list[dict[str, Any]]:
    """What a worker answers to these lines."""
    answers = io.StringIO()
    main(io.StringIO("".join(json.dumps(each) + "\n" for each in requests)), answers)
    return [json.loads(line) for line in answers.getvalue().splitlines()]


def test_a_worker_tells_its_progress_and_its_end(folders: list[Path], tmp_path: Path) -> None:
    wanted = request(folders[0], tmp_path, "a")
    line = {"work": wanted.work, "arguments": dict(wanted.arguments)}
    assert answers_to(line) == [{"progress": [1, 2]}, {"progress": [2, 2]}, {"done": True}]


def _fails(error: Exception) -> Callable[..., None]:
    def work(advance: object) -> None:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (TxrayError("as it is"), "as it is"),
        (MemoryError("Unable to allocate 9 TiB"), "out of memory (Unable to allocate 9 TiB); serve fewer"),
        (MemoryError(), "out of memory (no more given); serve fewer"),
        (KeyError("a\n\n b"), "unexpected KeyError: 'a\\n\\n b'; please report it"),
        (ValueError("line\n  end"), "unexpected ValueError: line end; please report it"),
    ],
)
def test_a_worker_tells_what_went_wrong_in_one_line_and_goes_on(
    error: Exception, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "txray.web.dashboard.jobs.process.WORK", {"bad": _fails(error), "good": lambda advance: None}
    )
    failed, good = answers_to({"work": "bad", "arguments": {}}, {"work": "good", "arguments": {}})
    assert failed["failed"].startswith(told)
    assert good == {"done": True}


def test_a_worker_ends_when_nobody_can_ask_any_more() -> None:
    worker = subprocess.Popen(
        [sys.executable, "-m", "txray.web.dashboard.jobs.process", "0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    out, _ = worker.communicate(timeout=60)
    assert (worker.returncode, out) == (0, b"")
