"""Commands in processes of their own, forked from one that has imported what takes most of their time."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path

from txray.cli.main import _exit_code

_FORKS = multiprocessing.get_context("forkserver")
# The process that forks imports these, and does nothing else.
_FORKS.set_forkserver_preload(["lightning.pytorch", "tests.builders.processes"])


@contextmanager
def forking() -> Iterator[None]:
    """End the process that forks with the block, so that its time counts as that of the tests in it."""
    try:
        yield
    finally:
        forkserver._forkserver._stop()  # type: ignore[attr-defined]


def start(arguments: list[str], said: Path, variables: Mapping[str, str]) -> BaseProcess:
    """Start a command of txray, which writes what it says to the end of a file."""
    process = _FORKS.Process(target=_run, args=(arguments, str(said), dict(variables)))
    process.start()
    return process


def _run(arguments: list[str], said: str, variables: dict[str, str]) -> None:
    os.environ.update(variables)
    file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    sys.exit(_exit_code(arguments))
