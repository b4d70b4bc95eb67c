"""One way to show that long work is going on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Advance(Protocol):
    """Say that `amount` more units are done."""

    def __call__(self, amount: float = 1) -> None:
        """Say so."""


@contextmanager
def progress(description: str, total: float | None = None, *, unit: str = "words") -> Iterator[Advance]:
    """A rich progress bar on standard error, silent where that is no terminal.

    Args:
        description: what is being done.
        total: units in all; None where that is not known.
        unit: what is counted, shown beside the rate.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} " + unit),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(description, total=total)
        yield lambda amount=1: bar.advance(task, amount)
