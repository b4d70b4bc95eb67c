"""Activations of every neuron at many words, reduced to statistics per group of words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

_CELLS = 1 << 18
"""Activations reduced at a time: few enough to stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class GroupedStats:
    """Statistics of the positive activations of each neuron in some groups of words.

    Attributes:
        group: (n,) int64, ascending, each once.
        count: (n, n_neurons) int32 number of positive activations.
        sum, sum_sq, max: (n, n_neurons) float64; 0 where there are none.
    """

    group: NDArray[np.int64]
    count: NDArray[np.int32]
    sum: NDArray[np.float64]
    sum_sq: NDArray[np.float64]
    max: NDArray[np.float64]


def run_starts(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each run of equal values begins."""
    return np.flatnonzero(np.concatenate((values[:1] == values[:1], values[1:] != values[:-1])))


def reduced(group: NDArray[np.int64], activations: NDArray[np.floating]) -> Iterator[GroupedStats]:
    """Reduce along words, some at a time; a group may be divided between two parts.

    Args:
        group: (n_words,) what each word counts for.
        activations: (n_words, n_neurons); entries that are not positive do not count.
    """
    order = np.argsort(group, kind="stable")
    group = group[order]
    at_once = max(8, _CELLS // activations.shape[1])
    for start in range(0, len(order), at_once):
        part = slice(start, start + at_once)
        with np.errstate(over="ignore"):  # whoever needs finite sums looks at them
            found = _reduced(group[part], np.maximum(activations[order[part]].astype(np.float64), 0.0))
        yield found


def _reduced(group: NDArray[np.int64], values: NDArray[np.float64]) -> GroupedStats:
    """The same for words in the order of their groups; `values` are overwritten."""
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
    for place in range(1, int(sizes.max())):
        larger = np.flatnonzero(sizes > place)
        largest[larger] = np.maximum(largest[larger], values[starts[larger] + place])
    count = (ones @ (values > 0).astype(np.float64)).astype(np.int32)
    total = ones @ values
    return GroupedStats(group[starts], count, total, ones @ np.square(values, out=values), largest)
