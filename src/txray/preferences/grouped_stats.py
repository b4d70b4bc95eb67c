"""Activations of every neuron at many words, reduced to statistics per group of words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from txray.arrays import Floats, Ints

_CELLS = 1 << 18
"""Activations reduced at a time: few enough to stay in the processor's cache."""


STATISTICS = ("count", "sum", "sum_sq", "max")
"""Statistics of activations: number, sum, sum of squares, and maximum."""


@dataclass(frozen=True, slots=True)
class GroupedStats:
    """Statistics of the positive activations of each neuron in some groups of words.

    Attributes:
        group: (n,) int64, ascending, each once.
        count: (n, n_neurons) int32 number of positive activations.
        sum, sum_sq, max: (n, n_neurons) float64; 0 where there are none.
    """

    group: Ints
    count: NDArray[np.int32]
    sum: Floats
    sum_sq: Floats
    max: Floats


def run_starts(values: Ints) -> Ints:
    """Return the index at which each run of equal values begins."""
    return np.flatnonzero(np.concatenate((values[:1] == values[:1], values[1:] != values[:-1])))


def reduced(group: Ints, activations: NDArray[np.floating]) -> Iterator[GroupedStats]:
    """Reduce activations along words, block by block, and yield the statistics of each; blocks may share a group.

    Args:
        group: (n_words,) group of each word.
        activations: (n_words, n_neurons); entries that are not positive do not count.
    """
    order = np.argsort(group, kind="stable")
    group = group[order]
    block_size = max(8, _CELLS // activations.shape[1])
    for start in range(0, len(order), block_size):
        part = slice(start, start + block_size)
        with np.errstate(over="ignore"):  # callers that need finite sums check them
            stats = _reduced(group[part], np.maximum(activations[order[part]].astype(np.float64), 0.0))
        yield stats


def _reduced(group: Ints, values: Floats) -> GroupedStats:
    """Reduce words that are sorted by group; `values` are overwritten."""
    starts = run_starts(group)
    if len(starts) == len(group):
        return GroupedStats(group, (values > 0).astype(np.int32), values, np.square(values), values)
    sizes = np.diff(starts, append=len(group))
    # numpy's own reduction along groups of rows is ten times slower than a product with a sparse matrix of ones.
    ones = sp.csr_array(
        (np.ones(len(group)), np.arange(len(group)), np.append(starts, len(group))),
        shape=(len(starts), len(group)),
    )
    largest = values[starts]
    for offset in range(1, int(sizes.max())):
        longer = np.flatnonzero(sizes > offset)
        largest[longer] = np.maximum(largest[longer], values[starts[longer] + offset])
    count = (ones @ (values > 0).astype(np.float64)).astype(np.int32)
    total = ones @ values
    return GroupedStats(group[starts], count, total, ones @ np.square(values, out=values), largest)
