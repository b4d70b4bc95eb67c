"""Packages that txray works with and does not bring along."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def package(name: str, purpose: str, install: str | None = None) -> Any:
    """Import a package, or a module of one, that may not be installed.

    Args:
        name: as in an import statement, e.g. `pandas`.
        purpose: what needs it, which begins the error, e.g. `to_pandas`.
        install: what pip is to install; the name by default.

    Returns:
        The module.

    Raises:
        UsageError: it is not installed; the text says how to install it.
    """
    from txray.errors import UsageError

    try:
        return import_module(name)
    except ImportError as error:
        raise UsageError(
            f"{purpose} needs the package {name!r} ({error.name or error} is missing): "
            f"pip install {install or name!r}"
        ) from error
