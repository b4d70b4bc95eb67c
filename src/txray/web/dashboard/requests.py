"""What an address asks for, and what is told where it cannot be answered."""

from __future__ import annotations

import logging

from txray.errors import TxrayError, in_one_line
from txray.web.dashboard.jobs.worker import JobPending
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.url_state import UrlState, completed, misread

logger = logging.getLogger("txray.web.dashboard")


def read(desk: ResultStore, path: str | None, search: str | None) -> tuple[UrlState, list[str]]:
    """The view that an address names, completed, with remarks on what it names wrongly."""
    view, remarks = completed(UrlState.read(path, search), desk.library.names, desk.library.feature_types)
    return view, [*remarks, *misread(search)]


def told(error: Exception) -> str:
    """What to show for an error: one line, nothing that only developers read."""
    if isinstance(error, JobPending):
        return f"{error} …"
    if isinstance(error, TxrayError):
        return str(error)
    logger.error("unexpected error", exc_info=error)
    return f"Unexpected {type(error).__name__}: {in_one_line(error)}. Please report it."
