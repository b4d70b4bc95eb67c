"""Inequality of activation mass over neurons."""

from __future__ import annotations

import numpy as np

from txray.arrays import Floats


def gini(mass: Floats) -> np.float64:
    """Return the Gini coefficient of a non-negative quantity.

    Args:
        mass: (n,) >= 0, e.g. the activation mass of every neuron.

    Returns:
        0 if all are equal, up to 1 - 1/n if one holds everything; NaN if all are 0.
    """
    ordered = np.sort(np.asarray(mass, dtype=np.float64))
    total = ordered.sum()
    if total == 0:
        return np.float64(np.nan)
    n = len(ordered)
    rank = np.arange(1, n + 1)
    return np.float64(((2 * rank - n - 1) * ordered).sum() / (n * total))


def share_of_top(mass: Floats, k: int) -> np.float64:
    """Return the share of the total held by the `k` largest; NaN if all are 0.

    Args:
        mass: (n,) >= 0.
        k: number of the largest.
    """
    total = np.sum(mass)
    if total == 0:
        return np.float64(np.nan)
    return np.float64(np.sort(mass)[::-1][:k].sum() / total)


def half_mass(mass: Floats) -> int:
    """Return the smallest number of neurons that together hold at least half of the activation mass.

    Args:
        mass: (n_neurons,) >= 0.
    """
    total = float(mass.sum())
    if total == 0:
        return 0
    running = np.cumsum(np.sort(mass)[::-1])
    return int(np.searchsorted(running, total / 2)) + 1
