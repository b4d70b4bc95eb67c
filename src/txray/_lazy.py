"""Public names that are imported on first use, so that importing a package stays fast."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any


def attach(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return the `__getattr__`, `__dir__` and `__all__` of a package.

    Its public names are the imports under `if TYPE_CHECKING:`, which type checkers read, too; each is written as
    `from x import y as y`.

    Args:
        package: `__name__` of the package.
    """
    loader: Any = sys.modules[package].__loader__
    module_of = {
        name.name: str(imported.module)
        for block in ast.parse(loader.get_source(package)).body
        if isinstance(block, ast.If)
        for imported in block.body
        if isinstance(imported, ast.ImportFrom)
        for name in imported.names
    }

    def find(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if module_of[name] == package:
            return import_module(f"{package}.{name}")
        return getattr(import_module(module_of[name]), name)

    public = sorted(module_of)
    return find, lambda: list(public), public
