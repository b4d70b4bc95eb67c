"""Libraries that an installation may lack: imported when they are needed, and missed in one line."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from txray.errors import UsageError


def require(who: str, extra: str, *modules: str, otherwise: str = "") -> Any:
    """Import what an extra of txray brings.

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
    instead = f" ({otherwise})" if otherwise else ""
    return _imported(modules, f"{who} the extra '{extra}'", f"'txray[{extra}]'{instead}")


def package(name: str, purpose: str) -> Any:
    """Import a package, or a module of one, that txray works with and does not bring along.

    Args:
        name: as in an import statement, e.g. `pandas`, `flair.data`; pip knows the package by its first part.
        purpose: what needs it, which begins the error, e.g. `to_pandas`.

    Returns:
        The module.

    Raises:
        UsageError: it is not installed; the text says how to install it.
    """
    distribution, *_ = name.split(".")
    return _imported((name,), f"{purpose} needs the package {distribution!r}", distribution)


def _imported(modules: tuple[str, ...], needs: str, install: str) -> Any:
    try:
        first, *_ = [import_module(module) for module in modules]
    except ImportError as error:
        raise UsageError(f"{needs} ({error.name or modules[0]} is missing): pip install {install}") from error
    return first
