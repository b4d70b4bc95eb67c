"""Fewer activations drawn from many: the larger of two samples cut to the size of the smaller."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from txray.preferences.grouped_stats import run_starts


def thinned(
    count: NDArray[np.int64], group: NDArray[np.int64], size: NDArray[np.int64], random: np.random.Generator
) -> NDArray[np.int64]:
    """Draw without replacement, group by group: multivariate hypergeometric.

    Each group is halved again and again, and each half gets its share by one hypergeometric draw: as many draws as
    there are cells, for all groups at once.

    Args:
        count: (n_cells,) things in each cell.
        group: (n_cells,) ascending group of each cell.
        size: (n_groups,) how many of each group are drawn; all of them where it has no more.
        random: draws.

    Returns:
        (n_cells,) things drawn from each cell.
    """
    if not len(count):
        return count.copy()
    start = run_starts(group)
    end = np.append(start[1:], len(group))
    before = np.concatenate(([0], np.cumsum(count)))
    wanted = np.minimum(size[group[start]], before[end] - before[start])
    kept = np.zeros(len(count), np.int64)
    while len(start):
        leaf = end - start == 1
        kept[start[leaf]] = wanted[leaf]
        start, end, wanted = start[~leaf], end[~leaf], wanted[~leaf]
        middle = (start + end) // 2
        left, right = before[middle] - before[start], before[end] - before[middle]
        of_left = random.hypergeometric(left, right, wanted)
        start, end, wanted = (
            np.concatenate(parts) for parts in ((start, middle), (middle, end), (of_left, wanted - of_left))
        )
    return kept
