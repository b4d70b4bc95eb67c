"""Evenly spaced samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def even_sample(size: int, max_size: int) -> NDArray[np.int64]:
    """Return up to `max_size` evenly spaced indices below `size`, including the first and the last.

    Args:
        size: number of items.
        max_size: maximum number of indices; for 1, only the first is returned.

    Example:
        >>> even_sample(11, 3).tolist()
        [0, 5, 10]
    """
    if size <= max_size:
        return np.arange(size)
    return np.unique(np.linspace(0, size - 1, max_size).round().astype(np.int64))
