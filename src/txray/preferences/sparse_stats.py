"""Sorted rows of statistics: one per key, merged by sorting and reducing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from txray.arrays import Floats, Ints
from txray.preferences.grouped_stats import GroupedStats, run_starts

SORTING_BYTES = 144
"""Memory that sorting and merging rows needs at most, per row of the result: the rows themselves, and copies."""


@dataclass(frozen=True, slots=True)
class SparseStats:
    """Statistics of the selected activations, one row per key.

    Attributes:
        key: (n_rows,) int64; strictly ascending once `combined`.
        count: (n_rows,) int64 number of activations.
        sum: (n_rows,) float64 sum of activations.
        sum_sq: (n_rows,) float64 sum of squared activations.
        max: (n_rows,) float64 largest activation.
    """

    key: Ints
    count: Ints
    sum: Floats
    sum_sq: Floats
    max: Floats

    def __len__(self) -> int:
        return len(self.key)

    @classmethod
    def empty(cls) -> SparseStats:
        """Return statistics without rows."""
        no_rows = np.zeros(0)
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), no_rows, no_rows, no_rows)

    @classmethod
    def of_events(cls, key: Ints, value: NDArray[np.floating]) -> SparseStats:
        """Return one row per event, not combined yet."""
        activation = value.astype(np.float64)
        return cls(key, np.ones(len(key), np.int64), activation, activation * activation, activation)

    @classmethod
    def of_cells(cls, part: GroupedStats, n_neurons: int) -> SparseStats:
        """Return one row per group and neuron with a positive activation; the key is `group * n_neurons + neuron`."""
        row, neuron = np.nonzero(part.count)
        return cls(
            part.group[row] * n_neurons + neuron,
            part.count[row, neuron].astype(np.int64),
            *(getattr(part, name)[row, neuron] for name in ("sum", "sum_sq", "max")),
        )

    @classmethod
    def combined(cls, parts: Sequence[SparseStats]) -> SparseStats:
        """Concatenate parts and merge rows of the same key; keys ascend."""
        key = np.concatenate([part.key for part in parts]) if parts else np.zeros(0, np.int64)
        if len(key) == 0:
            return cls.empty()
        order = np.argsort(key, kind="stable")
        key = key[order]
        starts = run_starts(key)

        # Column by column, so that only one of them is in memory several times.
        def merged(name: str, reduce: np.ufunc) -> NDArray[Any]:
            column = np.concatenate([getattr(part, name) for part in parts])
            return reduce.reduceat(column[order], starts)

        return cls(
            key=key[starts],
            count=merged("count", np.add),
            sum=merged("sum", np.add),
            sum_sq=merged("sum_sq", np.add),
            max=merged("max", np.maximum),
        )

    @classmethod
    def concatenated(cls, parts: Sequence[SparseStats]) -> SparseStats:
        """Return the rows of all parts, one part after the other."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__slots__))

    def arrays(self, prefix: str) -> dict[str, NDArray[Any]]:
        """Return the columns by name, each name with a prefix."""
        return {prefix + name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]], prefix: str) -> SparseStats:
        """Restore statistics from `arrays`."""
        return cls(**{name: arrays[prefix + name] for name in cls.__slots__})
