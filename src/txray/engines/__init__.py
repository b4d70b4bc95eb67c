"""Engines that collect on many processes or machines: `txray.collect(..., engine=txray.engines.Ray(...))`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from txray._lazy import attach

if TYPE_CHECKING:
    from txray.engines.ray_engine import Ray as Ray

# Imported on first use, so that what merges in a process of its own brings in no torch.
__getattr__, __dir__, __all__ = attach(__name__)
