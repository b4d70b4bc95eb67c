"""Parse the URL of a request, and turn errors into messages."""

from __future__ import annotations

import logging

from txray.errors import TxrayError, in_one_line
from txray.web.dashboard.jobs.queue import JobPending
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.url_state import UrlState, parse_warnings, with_defaults

logger = logging.getLogger("txray.web.dashboard")


def parse_view(store: ResultStore, path: str | None, search: str | None) -> tuple[UrlState, list[str]]:
    """Return the state that a URL describes, with defaults filled in, and warnings about what it names wrongly."""
    catalog = store.catalog
    view, warnings = with_defaults(UrlState.parse(path, search), catalog.names, catalog.feature_types)
    return view, [*warnings, *parse_warnings(search)]


def error_message(error: Exception) -> str:
    """Return a one-line, user-facing message for an exception."""
    if isinstance(error, JobPending):
        return f"{error} …"
    if isinstance(error, TxrayError):
        return str(error)
    logger.error("unexpected error", exc_info=error)
    return f"Unexpected {type(error).__name__}: {in_one_line(error)}. Please report it."
