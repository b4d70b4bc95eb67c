"""One way to show that long work is going on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

_SHOWN: list[str] = []  # two bars would overwrite each other's line


class Advance(Protocol):
    """Say that `amount` more units are done."""

    def __call__(self, amount: float = 1) -> None:
        """Say so."""


@contextmanager
def progress(description: str, total: float | None = None, *, unit: str = "words") -> Iterator[Advance]:
    """A rich progress bar on standard error, silent where that is no terminal, or inside another bar.

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
    outermost = not _SHOWN
    _SHOWN.append(description)
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:,.0f} " + unit),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not (outermost and console.is_terminal),
    ) as bar:
        task = bar.add_task(description, total=total)
        try:
            yield lambda amount=1: bar.advance(task, amount)
        finally:
            _SHOWN.remove(description)
