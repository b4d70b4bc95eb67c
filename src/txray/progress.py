"""One way to show that long work is going on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress

_LIVE: list[Progress] = []
"""The bars that are shown: two displays would overwrite each other's lines."""

_SHORT = 1.0
"""Seconds of work within other work that are over before anyone could read of them."""


class Advance(Protocol):
    """Say that `amount` more units are done."""

    def __call__(self, amount: float = 1) -> None:
        """Say so."""


@contextmanager
def progress(description: str, total: float | None = None, *, unit: str = "words") -> Iterator[Advance]:
    """A rich progress bar on standard error, silent where that is no terminal.

    Inside another one it is a line below it, once it has taken a second.

    Args:
        description: what is being done.
        total: units in all; None where that is not known.
        unit: what is counted, shown beside the number.
    """
    said = unit if total is None else f"of {total:,.0f} {unit}"
    if _LIVE:
        bar, begun = _LIVE[-1], time.monotonic()
        inner = bar.add_task(description, total=total, visible=False, unit=said)

        def advance(amount: float = 1) -> None:
            bar.update(inner, advance=amount, visible=time.monotonic() - begun > _SHORT)

        try:
            yield advance
        finally:
            bar.remove_task(inner)
        return
    with _display() as bar:
        _LIVE.append(bar)
        task = bar.add_task(description, total=total, unit=said)
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
