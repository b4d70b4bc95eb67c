"""Jobs in the order in which they are done: urgent ones first, then in the order of submission."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Thread
from typing import Any

from txray.errors import TxrayError
from txray.web.dashboard.jobs.worker import JobWorker


class JobPending(Exception):  # noqa: N818  # it is no error: the result is on its way
    """A result is not ready yet; the text says how far the job is."""


@dataclass(frozen=True)
class Job:
    """A result to make.

    Attributes:
        task: a name of `txray.web.dashboard.jobs.tasks.TASKS`.
        out: the file that it writes; the job is done when this file exists.
        arguments: of the task, plain JSON values.
        description: what it does, for people.
        unit: what its progress counts.
        urgent: whether a page waits for it.
    """

    task: str
    out: Path
    arguments: Mapping[str, Any]
    description: str
    unit: str = "layers"
    urgent: bool = True


@dataclass(frozen=True)
class JobStatus:
    """A snapshot of a queue.

    Attributes:
        current: the running job.
        progress: done and total units of the running job, once it has reported any.
        waiting: the other jobs, in the order in which they will run.
        n_finished: jobs that have ended, successfully or not.
        pid: of the worker process, while there is one.
    """

    current: Job | None
    progress: tuple[int, int] | None
    waiting: tuple[Job, ...]
    n_finished: int
    pid: int | None

    @property
    def next(self) -> Job | None:
        """The job that runs after the current one."""
        return self.waiting[0] if self.waiting else None

    def __str__(self) -> str:
        if self.current is None:
            return ""
        done, total = self.progress or (0, 0)
        progress = f" ({done:,} of {total:,} {self.current.unit})" if self.progress else ""
        waiting = f", {len(self.waiting):,} more to do" if self.waiting else ""
        return f"{self.current.description}{progress}{waiting}"


class JobQueue:
    """A priority queue of jobs with one worker; both are started by the first job."""

    def __init__(self, name: str, niceness: int = 0) -> None:
        """Start nothing yet; `niceness` is the priority of the worker, from 0 to 19 (lowest)."""
        self._worker = JobWorker(niceness)
        self._waiting: dict[Path, Job] = {}
        self._errors: dict[Path, str] = {}
        self._current: Job | None = None
        self._progress: tuple[int, int] | None = None
        self._n_finished = 0
        self._closed = False
        self._changed = Condition()
        self._thread = Thread(target=self._run, name=f"txray: {name}", daemon=True)

    def status(self) -> JobStatus:
        """Return a snapshot of the queue."""
        with self._changed:
            return JobStatus(
                self._current, self._progress, self._in_order(), self._n_finished, self._worker.pid
            )

    def submit(self, job: Job) -> None:
        """Queue a job, unless it is done, running or has failed; submitted again as urgent, it moves up."""
        with self._changed:
            running = self._current is not None and self._current.out == job.out
            if self._closed or running or job.out in self._errors or job.out.is_file():
                return
            queued = self._waiting.get(job.out)
            if queued is None or (job.urgent and not queued.urgent):
                self._waiting.pop(job.out, None)
                self._waiting[job.out] = job
            if self._thread.ident is None:
                self._thread.start()
            self._changed.notify_all()

    def require(self, job: Job) -> None:
        """Submit a job whose result is missing.

        Raises:
            JobPending: always, unless it has failed.
            TxrayError: it has failed before.
        """
        if error := self.error(job):
            raise TxrayError(error)
        self.submit(job)
        with self._changed:
            if self._progress and self._current is not None and self._current.out == job.out:
                done, total = self._progress
                raise JobPending(f"{job.description}: {done:,} of {total:,} {job.unit}")
        raise JobPending(job.description)

    def error(self, job: Job) -> str:
        """Return why a job failed, in one line; empty if it did not."""
        return self._errors.get(job.out, "")

    def clear_errors(self) -> None:
        """Allow failed jobs to be submitted again."""
        with self._changed:
            self._errors.clear()

    def close(self) -> None:
        """Drop all jobs and kill the worker."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
        self._worker.close()
        if self._thread.ident is not None:
            self._thread.join(timeout=5)

    def _in_order(self) -> tuple[Job, ...]:
        return tuple(sorted(self._waiting.values(), key=lambda job: not job.urgent))

    def _run(self) -> None:
        while (job := self._next()) is not None:
            error = ""
            try:
                self._worker.run(job.task, job.out, job.arguments, self._advance)
            except TxrayError as problem:
                error = str(problem)
            if not error and not job.out.is_file():
                error = f"nothing was written to {job.out}"
            with self._changed:
                self._current = self._progress = None
                self._n_finished += 1
                if error and not self._closed:
                    self._errors[job.out] = f"{job.description}: {error}"

    def _next(self) -> Job | None:
        """Wait for a job and mark it as running; None once the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return None
            self._current = self._in_order()[0]
            del self._waiting[self._current.out]
            return self._current

    def _advance(self, done: int, total: int) -> None:
        with self._changed:
            self._progress = done, total
