"""What carries out a collection on many processes or machines: `txray.collect(..., engine=txray.engines.Ray(...))`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from txray.engines.ray_engine import Ray

# Looked up on first use, so that what merges in a process of its own brings in no torch.
_HOMES = {"Ray": "ray_engine"}

__all__ = ["Ray"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
