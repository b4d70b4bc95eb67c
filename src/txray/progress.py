"""Progress bars on standard error, nested ones included."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress

_LIVE: list[Progress] = []
"""The current bar, if any: two displays would overwrite each other's lines."""

_SHOW_AFTER = 1.0
"""Seconds before a nested bar appears, so that short steps do not flicker."""


class Advance(Protocol):
    """A function that reports finished work."""

    def __call__(self, amount: float = 1) -> None:
        """Report that `amount` more units are done."""


@contextmanager
def progress(description: str, total: float | None = None, *, unit: str = "words") -> Iterator[Advance]:
    """Show a progress bar on standard error while the block runs; nothing is shown if that is not a terminal.

    A nested bar appears as a line below the outer one once it has run for a second.

    Args:
        description: text in front of the bar.
        total: number of units; None if unknown.
        unit: name of the units, shown beside their number.

    Yields:
        A function to call with the number of units that were finished.
    """
    counted = unit if total is None else f"of {total:,.0f} {unit}"
    if _LIVE:
        bar, start = _LIVE[-1], time.monotonic()
        inner = bar.add_task(description, total=total, visible=False, unit=counted)

        def advance(amount: float = 1) -> None:
            bar.update(inner, advance=amount, visible=time.monotonic() - start > _SHOW_AFTER)

        try:
            yield advance
        finally:
            bar.remove_task(inner)
        return
    with _display() as bar:
        _LIVE.append(bar)
        task = bar.add_task(description, total=total, unit=counted)
        try:
            yield lambda amount=1: bar.advance(task, amount)
        finally:
            _LIVE.remove(bar)


def _display() -> Progress:
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
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:,.0f} {task.fields[unit]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
