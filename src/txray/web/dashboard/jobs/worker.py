"""A process that does one piece of work after another, the most urgent first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Condition, Thread
from typing import Any

from txray.errors import TxrayError, in_one_line
from txray.safe_path import safe_environment


class JobPending(Exception):  # noqa: N818  # it is no error: the result is on its way
    """A result is being made; its text says how far."""


@dataclass(frozen=True, eq=False)
class Job:
    """A piece of work.

    Attributes:
        work: a name of `txray.web.dashboard.jobs.tasks.WORK`.
        out: the file that it makes; as long as that is not there, it is not done.
        arguments: plain JSON values.
        told: what is being done, for people.
        unit: what progress counts.
        urgent: whether somebody waits for it.
    """

    work: str
    out: Path
    arguments: Mapping[str, Any]
    told: str
    unit: str
    urgent: bool = True


@dataclass
class JobQueue:
    """Requests that wait, and what is known of each."""

    urgent: dict[Path, Job] = field(default_factory=dict)
    later: dict[Path, Job] = field(default_factory=dict)
    current: Job | None = None
    progress: tuple[int, int] | None = None
    failed: dict[Path, str] = field(default_factory=dict)
    finished: int = 0
    closed: bool = False

    def next(self) -> Job | None:
        """Remove and return the next job: urgent ones first."""
        for waiting in (self.urgent, self.later):
            if waiting:
                return waiting.pop(next(iter(waiting)))
        return None


class JobWorker:
    """A Python process of its own, so that clicks are answered while it works; started when there is work."""

    def __init__(self, name: str, patience: int = 0) -> None:
        """Nothing is started yet.

        Args:
            name: of the thread that waits for the process.
            patience: how much the process gives way to others, from 0 to 19 (Unix's nice).
        """
        self._patience = patience
        self._name = name
        self._line = JobQueue()
        self._changed = Condition()
        self._thread: Thread | None = None
        self._child: subprocess.Popen[str] | None = None

    @property
    def finished(self) -> int:
        """Pieces of work that have ended, well or not."""
        return self._line.finished

    def ask(self, request: Job) -> None:
        """Have it done, unless it is done, has failed, or waits already; an urgent request goes first from then on."""
        with self._changed:
            line = self._line
            if line.closed or request.out in line.failed or request.out.is_file():
                return
            if line.current is not None and line.current.out == request.out:
                return
            if request.urgent:
                line.later.pop(request.out, None)
                line.urgent.setdefault(request.out, request)
            elif request.out not in line.urgent:
                line.later.setdefault(request.out, request)
            if self._thread is None:
                self._thread = Thread(target=self._run, name=f"txray: {self._name}", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def wait(self, request: Job) -> None:
        """Have it done, and tell how far it is.

        Raises:
            NotReady: always, unless it failed.
            TxrayError: it failed before.
        """
        problem = self.problem(request)
        if problem:
            raise TxrayError(problem)
        self.ask(request)
        with self._changed:
            line = self._line
            if line.current is not None and line.current.out == request.out and line.progress:
                raise JobPending(
                    "{told}: {0:,} of {1:,} {unit}".format(
                        *line.progress, told=request.told, unit=request.unit
                    )
                )
        raise JobPending(request.told)

    def problem(self, request: Job) -> str:
        """Why it failed; empty where it did not."""
        return self._line.failed.get(request.out, "")

    def forget(self) -> None:
        """Let what failed be tried again."""
        with self._changed:
            self._line.failed.clear()

    def doing(self) -> list[str]:
        """What is being done now, in words, and how much waits."""
        with self._changed:
            line = self._line
            if line.current is None:
                return []
            waiting = len(line.urgent) + len(line.later)
            done = (
                f" ({line.progress[0]:,} of {line.progress[1]:,} {line.current.unit})"
                if line.progress
                else ""
            )
            return [f"{line.current.told}{done}" + (f", {waiting:,} more to do" if waiting else "")]

    def close(self) -> None:
        """End the process; what it had not finished is not there."""
        with self._changed:
            self._line.closed = True
            self._line.urgent.clear()
            self._line.later.clear()
            self._changed.notify_all()
            child = self._child
        if child is not None:
            child.kill()
            child.wait()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _run(self) -> None:
        while True:
            with self._changed:
                while (request := self._line.next()) is None and not self._line.closed:
                    self._changed.wait()
                if request is None:
                    return
                self._line.current, self._line.progress = request, None
            problem = self._done(request)
            with self._changed:
                line = self._line
                line.current = line.progress = None
                line.finished += 1
                if problem and not line.closed:
                    line.failed[request.out] = problem

    def _done(self, request: Job) -> str:
        """Do it; returns what went wrong, in one line."""
        try:
            child = self._started()
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(json.dumps({"work": request.work, "arguments": dict(request.arguments)}) + "\n")
            child.stdin.flush()
            for line in child.stdout:
                answer = json.loads(line)
                if "progress" in answer:
                    with self._changed:
                        self._line.progress = tuple(answer["progress"])
                elif "failed" in answer:
                    return str(answer["failed"])
                else:
                    return (
                        ""
                        if request.out.is_file()
                        else f"{request.told}: nothing was written to {request.out}"
                    )
        except (OSError, ValueError) as error:
            told = in_one_line(error)
            self._end()
            return (
                f"{request.told}: the process that does it cannot be talked to ({told}); reload to try again"
            )
        code = self._end()
        return f"{request.told}: the process that does it ended (code {code}; out of memory?); reload to try again"

    def _started(self) -> subprocess.Popen[str]:
        if self._child is None:
            # Several threads of numerical libraries would fight with the server for the cores.
            few = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1")
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", "txray.web.dashboard.jobs.process", str(self._patience)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                env={**os.environ, **few, **safe_environment()},
                # Ctrl-C in the terminal is for the server alone, which then closes the line of requests.
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
            with self._changed:
                self._child = child
                if self._line.closed:
                    child.kill()
        return self._child

    def _end(self) -> int | None:
        child, self._child = self._child, None
        if child is None:
            return None
        with suppress(OSError):
            child.kill()
        return child.wait()
