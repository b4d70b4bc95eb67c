"""How unevenly activation mass is spread over neurons."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def gini(mass: NDArray[np.float64]) -> np.float64:
    """Gini coefficient of a non-negative quantity.

    Args:
        mass: (n,) >= 0, e.g. the activation mass of every neuron.

    Returns:
        0 where all are equal, towards 1 - 1/n where one holds everything; NaN where all are 0.
    """
    ordered = np.sort(np.asarray(mass, dtype=np.float64))
    total = ordered.sum()
    if total == 0:
        return np.float64(np.nan)
    n = len(ordered)
    rank = np.arange(1, n + 1)
    return np.float64(((2 * rank - n - 1) * ordered).sum() / (n * total))


def share_of_top(mass: NDArray[np.float64], k: int) -> np.float64:
    """Share of the whole that the `k` largest hold; NaN where all are 0.

    Args:
        mass: (n,) >= 0.
        k: how many of the largest.
    """
    total = np.sum(mass)
    if total == 0:
        return np.float64(np.nan)
    return np.float64(np.sort(mass)[::-1][:k].sum() / total)


def half_mass(mass: NDArray[np.float64]) -> int:
    """The smallest number of neurons that together hold at least half of the activation mass.

    Args:
        mass: (n_neurons,) >= 0.
    """
    total = float(mass.sum())
    if total == 0:
        return 0
    running = np.cumsum(np.sort(mass)[::-1])
    return int(np.searchsorted(running, total / 2)) + 1
