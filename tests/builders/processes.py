"""Commands in processes of their own, forked from one that has imported what takes most of their time."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

from txray.cli.main import _exit_code

_FORKS = multiprocessing.get_context("forkserver")
# The process that forks imports these, and does nothing else.
_FORKS.set_forkserver_preload(["lightning.pytorch", "tests.builders.processes"])


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
