"""Trainings that are killed: `python -m tests.unit.training.killed FOLDER NAME KIND FUNCTION CALLS ...`.

Each group of four arguments is one training in FOLDER/NAME. Its process kills itself with SIGKILL, which gives
no one a chance to tidy up, when FUNCTION (`module:name`) is called for the CALLS-th time. The processes
are forked from one that has done nothing but imports, because these take most of the time. Prints the
names and exit codes.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from tests.builders.training_texts import model, reviews, ring
from txray.models import classifier
from txray.training import TrainingRun, train_classifier, train_language_model

EPOCHS = 3


def train(kind: str, folder: Path) -> TrainingRun:
    torch.set_num_threads(1)
    if kind == "classifier":
        start = classifier(model(dropout=0.2), "last+avg+max")
        texts = [reviews(name, 48, seed) for seed, name in enumerate(("train", "validation"))]
        return train_classifier(start, *texts, folder=folder, epochs=EPOCHS, batch_size=8, device="cpu")
    texts = [ring(name, 20, seed) for seed, name in enumerate(("train", "validation", "test"))]
    return train_language_model(
        model(dropout=0.2), *texts, folder=folder, epochs=EPOCHS, batch_size=4, bptt=10, device="cpu"
    )


def die_at(function: str, calls: int) -> None:
    module_name, _, path = function.partition(":")
    *owners, name = path.split(".")
    owner: Any = functools.reduce(getattr, owners, import_module(module_name))
    original, seen = getattr(owner, name), 0

    def counting(*args: Any, **options: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == calls:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **options)

    setattr(owner, name, counting)


def killed(folder: Path, kind: str, function: str, calls: int) -> int:
    """Train in a process of its own until it dies; its exit code, negative for a signal."""
    child = os.fork()
    if child == 0:
        try:
            die_at(function, calls)
            train(kind, folder)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    import txray.training.classifier
    import txray.training.language_model  # noqa: F401

    root = Path(sys.argv[1])
    for name, kind, function, calls in zip(*(iter(sys.argv[2:]),) * 4, strict=True):
        print(name, killed(root / name, kind, function, int(calls)), flush=True)
