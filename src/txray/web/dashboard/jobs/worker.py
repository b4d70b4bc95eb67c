"""A process that runs tasks one by one (the module `__main__` of this package).

A `concurrent.futures.ProcessPoolExecutor` would be shorter, but it does not suit a server in the program of a user:

- Forking is unsafe here, because polars and waitress have running threads, and spawned workers run the caller's script
  again: `txray.serve("stages")` without `if __name__ == "__main__"` ends with a broken pool.
- Spawned workers import from the working folder before any initializer runs: a `multiprocessing.py` beside the user's
  stages is executed.
- Its workers outlive a server that is killed, because they hold the writing end of their own queue.
- It has no priorities, no progress, and no way to end a task that hangs.

Dash's background callbacks start a process per callback, one import of polars each, and have no priorities either.
Here, jobs go to the process as lines of JSON, and answers come back as such: `{"progress": [done, total]}`,
`{"error": "one line"}`, `{"done": true}`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

from txray.errors import TxrayError, in_one_line
from txray.safe_path import safe_environment


class JobWorker:
    """A process that runs tasks; started when there is a task, and again after it has died."""

    def __init__(self, niceness: int = 0) -> None:
        """Start nothing yet; `niceness` is the priority of the process, from 0 to 19 (lowest)."""
        self._niceness = niceness
        self._process: subprocess.Popen[str] | None = None
        self._closed = False
        self._lock = Lock()

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        process = self._process
        return process.pid if process is not None else None

    def run(
        self, task: str, out: Path, arguments: Mapping[str, Any], advance: Callable[[int, int], None]
    ) -> None:
        """Run a task of `tasks.TASKS`, which writes a file, and wait for its end; `advance` gets done and total units.

        Raises:
            TxrayError: it failed, or the process died.
        """
        try:
            process = self._started()
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(
                json.dumps({"task": task, "out": str(out), "arguments": dict(arguments)}) + "\n"
            )
            process.stdin.flush()
            for line in process.stdout:
                answer = json.loads(line)
                if "error" in answer:
                    raise TxrayError(answer["error"])
                if "done" in answer:
                    return
                advance(*answer["progress"])
            problem = ""
        except (OSError, ValueError) as error:
            problem = f"; {in_one_line(error)}"
        code = self._kill()
        raise TxrayError(f"its process ended (code {code}{problem}; out of memory?); reload to try again")

    def close(self) -> None:
        """Kill the process, whatever it does, and start no other."""
        with self._lock:
            self._closed = True
            process = self._process
        if process is not None:
            process.kill()
            process.wait()

    def _started(self) -> subprocess.Popen[str]:
        with self._lock:
            if self._closed:
                raise TxrayError("the dashboard is closed")
            if self._process is None:
                # Several threads of numerical libraries would compete with the server for the cores.
                threads = dict.fromkeys(
                    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1"
                )
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", __package__, str(self._niceness)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    encoding="utf-8",
                    env={**os.environ, **threads, **safe_environment()},
                    # Ctrl-C in the terminal is for the server alone, which then closes its queues.
                    start_new_session=True,
                    creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
                )
            return self._process

    def _kill(self) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        with suppress(OSError):
            process.kill()
        return process.wait()
