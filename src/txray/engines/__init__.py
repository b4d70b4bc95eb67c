"""What carries out a collection on many processes or machines: `txray.collect(..., engine=txray.engines.Ray(...))`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from txray._lazy import lazily

if TYPE_CHECKING:
    from txray.engines.ray_engine import Ray

# Looked up on first use, so that what merges in a process of its own brings in no torch.
_HOMES = {"Ray": "ray_engine"}

__all__ = ["Ray"]

__getattr__, __dir__ = lazily(__name__, _HOMES, __all__)
