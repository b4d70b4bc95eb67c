"""Jobs: their order, their status, and workers that are killed or hang."""

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
from txray.web.dashboard.jobs.__main__ import main
from txray.web.dashboard.jobs.queue import Job, JobPending, JobQueue


@pytest.fixture
def queue() -> Iterator[JobQueue]:
    queue = JobQueue("test")
    yield queue
    queue.close()


def job_of(stage: Path, folder: Path, name: str, *, urgent: bool = True) -> Job:
    """A job that reads a stage."""
    arguments = {"stage": str(stage), "feature_type": "pos", "weight": "mean"}
    return Job("neuron_table", folder / f"{name}.parquet", arguments, f"reading {name}", urgent=urgent)


def worker_of(queue: JobQueue) -> int:
    """The id of the process that works."""
    until(lambda: queue.status().pid, "a process")
    pid = queue.status().pid
    assert pid is not None
    return pid


def idle(queue: JobQueue) -> bool:
    """Whether no job is running."""
    return queue.status().current is None


def finish(queue: JobQueue, job: Job) -> None:
    """Submit a job and wait for its end."""
    queue.submit(job)
    until(job.out.is_file, job.description)
    until(lambda: idle(queue), "rest")


def gone(pid: int) -> bool:
    """Whether a process has ended, and was waited for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_worker_imports_nothing_from_the_working_folder(
    queue: JobQueue, folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("polars", "json", "numpy", "pkgutil"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    # Python takes an empty entry for the working folder.
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", "") + os.pathsep)
    finish(queue, job_of(folders[0].resolve(), tmp_path, "a"))
    assert not (tmp_path / "imported").exists()


def test_what_is_required_is_made_and_counted(queue: JobQueue, folders: list[Path], tmp_path: Path) -> None:
    job = job_of(folders[0], tmp_path, "a")
    with pytest.raises(JobPending, match="reading a"):
        queue.require(job)
    until(lambda: queue.status().n_finished == 1, "an end")
    assert len(read_result(job.out)) == 21
    assert queue.error(job) == ""
    queue.submit(job)
    status = queue.status()
    assert (status.current, status.next, status.n_finished, str(status)) == (None, None, 1, "")


def test_no_process_is_started_without_work(queue: JobQueue, folders: list[Path], tmp_path: Path) -> None:
    job = job_of(folders[0], tmp_path, "a")
    job.out.write_bytes(b"it exists")
    queue.submit(job)
    queue.close()
    queue.submit(job_of(folders[0], tmp_path, "b"))
    status = queue.status()
    assert (status.current, status.waiting, status.pid) == (None, (), None)


def test_urgent_jobs_overtake(queue: JobQueue, folders: list[Path], tmp_path: Path) -> None:
    finish(queue, job_of(folders[0], tmp_path, "start"))
    pid = worker_of(queue)
    os.kill(pid, signal.SIGSTOP)
    queue.submit(job_of(folders[0], tmp_path, "current", urgent=False))
    until(lambda: not idle(queue), "the first job")
    for name, urgent in {"a": False, "b": False, "c": True}.items():
        queue.submit(job_of(folders[0], tmp_path, name, urgent=urgent))
    # Now somebody waits for b. That nobody waits for c any more is not known.
    queue.submit(job_of(folders[0], tmp_path, "b"))
    queue.submit(job_of(folders[0], tmp_path, "c", urgent=False))
    status = queue.status()
    assert status.next == job_of(folders[0], tmp_path, "c")
    assert [job.out.stem for job in status.waiting] == ["c", "b", "a"]
    assert str(status) == "reading current, 3 more to do"
    os.kill(pid, signal.SIGCONT)
    until(lambda: queue.status().n_finished == 5, "everything")
    files = [tmp_path / f"{name}.parquet" for name in ("current", "c", "b", "a")]
    assert sorted(files, key=lambda file: file.stat().st_mtime_ns) == files


def test_a_killed_worker_is_reported_in_one_line_and_replaced(
    queue: JobQueue, folders: list[Path], tmp_path: Path
) -> None:
    finish(queue, job_of(folders[0], tmp_path, "start"))
    pid, job = worker_of(queue), job_of(folders[0], tmp_path, "b")
    os.kill(pid, signal.SIGSTOP)
    queue.submit(job)
    until(lambda: not idle(queue), "the job")
    os.kill(pid, signal.SIGKILL)
    until(lambda: queue.error(job), "an error")
    with pytest.raises(TxrayError, match=r"reading b: .* ended \(code -9") as caught:
        queue.require(job)
    assert "\n" not in str(caught.value)
    assert gone(pid)
    # Not repeated by itself, and no obstacle for others.
    queue.submit(job)
    finish(queue, job_of(folders[0], tmp_path, "c"))
    assert not job.out.exists()
    queue.clear_errors()
    finish(queue, job)
    assert worker_of(queue) != pid


def test_a_worker_that_died_at_rest_is_reported_and_replaced(
    queue: JobQueue, folders: list[Path], tmp_path: Path
) -> None:
    finish(queue, job_of(folders[0], tmp_path, "start"))
    pid, job = worker_of(queue), job_of(folders[0], tmp_path, "b")
    os.kill(pid, signal.SIGKILL)
    queue.submit(job)
    until(lambda: queue.error(job), "an error")
    assert "reload to try again" in queue.error(job)
    queue.clear_errors()
    finish(queue, job)


@pytest.mark.parametrize("state", ["at rest", "hanging"])
def test_closing_leaves_no_process(state: str, queue: JobQueue, folders: list[Path], tmp_path: Path) -> None:
    finish(queue, job_of(folders[0], tmp_path, "start"))
    pid, job = worker_of(queue), job_of(folders[0], tmp_path, "b")
    if state == "hanging":
        os.kill(pid, signal.SIGSTOP)
        queue.submit(job)
        queue.submit(job_of(folders[0], tmp_path, "c"))
        until(lambda: not idle(queue), "the job")
    queue.close()
    assert gone(pid)
    assert (idle(queue), queue.status().waiting, queue.error(job)) == (True, (), "")
    assert not job.out.exists()
    queue.close()


def test_closing_while_the_process_starts_leaves_none(
    queue: JobQueue, folders: list[Path], tmp_path: Path
) -> None:
    queue.submit(job_of(folders[0], tmp_path, "a"))
    pid = worker_of(queue)
    queue.close()
    assert gone(pid)


@pytest.mark.skipif(not hasattr(os, "getpgid"), reason="a terminal's Ctrl-C is sent to a Unix process group")
def test_ctrl_c_in_the_terminal_does_not_reach_the_worker(
    queue: JobQueue, folders: list[Path], tmp_path: Path
) -> None:
    finish(queue, job_of(folders[0], tmp_path, "a"))
    assert os.getpgid(worker_of(queue)) != os.getpgid(0)


SCRIPT = """
import sys
from pathlib import Path
from txray.web.dashboard.jobs.queue import Job, JobQueue
stage, out = sys.argv[1:]
queue = JobQueue("test")
arguments = {"stage": stage, "feature_type": "pos", "weight": "mean"}
queue.submit(Job("neuron_table", Path(out), arguments, "reading"))
while not (status := queue.status()).n_finished:
    pass
print("ran", Path(out).is_file(), status.pid, flush=True)
sys.stdin.read()
"""


def test_a_script_without_a_main_guard_can_queue_jobs_and_leaves_no_worker_when_killed(
    folders: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "script.py"), str(folders[0]), str(tmp_path / "a.parquet")]
    script = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert script.stdout is not None
    ran, exists, pid = script.stdout.readline().split()
    assert (ran, exists) == ("ran", "True")
    script.kill()
    script.communicate()
    until(lambda: gone(int(pid)), "the end of the worker")


def answers_to(*requests: dict[str, Any]) -> list[dict[str, Any]]:
    """What a worker answers to these lines."""
    answers = io.StringIO()
    main(io.StringIO("".join(json.dumps(request) + "\n" for request in requests)), answers)
    return [json.loads(line) for line in answers.getvalue().splitlines()]


def test_a_worker_reports_its_progress_and_its_end(folders: list[Path], tmp_path: Path) -> None:
    job = job_of(folders[0], tmp_path, "a")
    request = {"task": job.task, "out": str(job.out), "arguments": dict(job.arguments)}
    assert answers_to(request) == [{"progress": [1, 2]}, {"progress": [2, 2]}, {"done": True}]


def _fails(error: Exception) -> Callable[..., None]:
    def task(out: Path, advance: object) -> None:
        raise error

    return task


@pytest.mark.parametrize(
    ("error", "start"),
    [
        (TxrayError("as it is"), "as it is"),
        (MemoryError("Unable to allocate 9 TiB"), "out of memory (Unable to allocate 9 TiB)"),
        (MemoryError(), "out of memory"),
        (KeyError("a\n\n b"), "unexpected KeyError: 'a\\n\\n b'"),
        (ValueError("line\n  end"), "unexpected ValueError: line end"),
    ],
)
def test_a_worker_reports_errors_in_one_line_and_continues(
    error: Exception, start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = {"bad": _fails(error), "good": lambda out, advance: None}
    monkeypatch.setattr("txray.web.dashboard.jobs.__main__.TASKS", tasks)
    failed, good = answers_to(*({"task": name, "out": "a", "arguments": {}} for name in tasks))
    assert failed["error"].startswith(start)
    assert "\n" not in failed["error"]
    assert good == {"done": True}


def test_a_worker_ends_without_a_word_when_its_input_ends() -> None:
    worker = subprocess.run(
        [sys.executable, "-m", "txray.web.dashboard.jobs", "0"], input=b"", capture_output=True, timeout=60
    )
    assert (worker.returncode, worker.stdout, worker.stderr) == (0, b"", b"")
