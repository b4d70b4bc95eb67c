"""Libraries that come with an extra only: imported when they are needed, and missed in one line."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from txray.errors import UsageError


def require(who: str, extra: str, *modules: str, otherwise: str = "") -> Any:
    """Import what an extra brings.

    Args:
        who: begins the sentence of the error, with its verb, e.g. `the dashboard needs`.
        extra: e.g. `dashboard`.
        modules: what must be there, e.g. `dash`, `waitress`.
        otherwise: what to do without the extra, if there is something.

    Returns:
        The first module.

    Raises:
        UsageError: one of them, or something that it needs itself, is missing.
    """
    try:
        first, *_ = [import_module(module) for module in modules]
    except ImportError as error:
        instead = f" ({otherwise})" if otherwise else ""
        raise UsageError(
            f"{who} the extra '{extra}' ({error.name or modules[0]} is missing): "
            f"pip install 'txray[{extra}]'{instead}"
        ) from error
    return first
