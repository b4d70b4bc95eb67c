"""Import optional dependencies when they are needed; a missing one is reported in one line."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from txray.errors import UsageError


def import_extra(needs: str, extra: str, *modules: str, hint: str = "") -> Any:
    """Import modules that an extra of txray installs.

    Args:
        needs: beginning of the error message, with its verb, e.g. `the dashboard needs`.
        extra: name of the extra, e.g. `dashboard`.
        modules: modules to import, e.g. `dash`, `waitress`.
        hint: alternative to installing the extra, if there is one.

    Returns:
        The first module.

    Raises:
        UsageError: one of the modules, or one of its own dependencies, is missing.
    """
    alternative = f" ({hint})" if hint else ""
    return _import(modules, f"{needs} the extra '{extra}'", f"'txray[{extra}]'{alternative}")


def import_package(name: str, purpose: str) -> Any:
    """Import a package that txray works with but does not depend on, or a module of one.

    Args:
        name: module name, e.g. `pandas` or `flair.data`; its first part is the name that pip installs.
        purpose: what needs it, e.g. `to_pandas`; begins the error message.

    Returns:
        The module.

    Raises:
        UsageError: the package is not installed; the message says how to install it.
    """
    distribution, *_ = name.split(".")
    return _import((name,), f"{purpose} needs the package {distribution!r}", distribution)


def _import(modules: tuple[str, ...], needs: str, install: str) -> Any:
    try:
        first, *_ = [import_module(module) for module in modules]
    except ImportError as error:
        raise UsageError(f"{needs} ({error.name or modules[0]} is missing): pip install {install}") from error
    return first
