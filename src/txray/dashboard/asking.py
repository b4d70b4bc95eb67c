"""What an address asks for, and what is told where it cannot be answered."""

from __future__ import annotations

import logging

from txray.dashboard.desk import Desk
from txray.dashboard.processes import NotReady
from txray.dashboard.view import View, completed, misread
from txray.errors import TxrayError, in_one_line

logger = logging.getLogger("txray.dashboard")


def read(desk: Desk, path: str | None, search: str | None) -> tuple[View, list[str]]:
    """The view that an address names, completed, with remarks on what it names wrongly."""
    view, remarks = completed(View.read(path, search), desk.library.names, desk.library.features)
    return view, [*remarks, *misread(search)]


def told(error: Exception) -> str:
    """What to show for an error: one line, nothing that only developers read."""
    if isinstance(error, NotReady):
        return f"{error} …"
    if isinstance(error, TxrayError):
        return str(error)
    logger.error("unexpected error", exc_info=error)
    return f"Unexpected {type(error).__name__}: {in_one_line(error)}. Please report it."
