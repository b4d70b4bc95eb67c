"""Public names that are imported on first use, so that importing a package stays fast."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def attach(
    package: str, names: Mapping[str, str], modules: str = ""
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return the `__getattr__`, `__dir__` and `__all__` of a package.

    Type checkers read the imports under `TYPE_CHECKING` instead, each written as `from x import y as y`.

    Args:
        package: `__name__` of the package.
        names: module of the package -> the public names that it defines, separated by spaces.
        modules: public modules of the package, separated by spaces.
    """
    module_of = {name: module for module, defined in names.items() for name in defined.split()}
    public_modules = modules.split()
    public = sorted([*module_of, *public_modules])

    def find(name: str) -> Any:
        if name in module_of:
            return getattr(import_module(f"{package}.{module_of[name]}"), name)
        if name in public_modules:
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return find, lambda: list(public), public
