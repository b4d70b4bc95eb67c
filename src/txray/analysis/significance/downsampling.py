"""Random downsampling of activations to the size of a smaller sample."""

from __future__ import annotations

import numpy as np

from txray.arrays import Ints
from txray.preferences.grouped_stats import run_starts


def downsample(count: Ints, group: Ints, size: Ints, random: np.random.Generator) -> Ints:
    """Draw without replacement from groups of cells (multivariate hypergeometric), and return the new counts.

    Each group is halved repeatedly, and one hypergeometric draw splits its number between the halves, for all groups at
    once.

    Args:
        count: (n_cells,) number of activations in each cell.
        group: (n_cells,) ascending group of each cell.
        size: (n_groups,) number to draw from each group; all if it has fewer.
        random: generator.

    Returns:
        (n_cells,) number of activations drawn from each cell.
    """
    if not len(count):
        return count.copy()
    start = run_starts(group)
    end = np.append(start[1:], len(group))
    before = np.concatenate(([0], np.cumsum(count)))
    wanted = np.minimum(size[group[start]], before[end] - before[start])
    drawn = np.zeros(len(count), np.int64)
    while len(start):
        leaf = end - start == 1
        drawn[start[leaf]] = wanted[leaf]
        start, end, wanted = start[~leaf], end[~leaf], wanted[~leaf]
        middle = (start + end) // 2
        left, right = before[middle] - before[start], before[end] - before[middle]
        of_left = random.hypergeometric(left, right, wanted)
        start, end, wanted = (
            np.concatenate(parts) for parts in ((start, middle), (middle, end), (of_left, wanted - of_left))
        )
    return drawn
