"""Dense statistics: one row per (fold, feature), one column per neuron, for selections that credit most neurons."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from txray.preferences.grouped_stats import GroupedStats
from txray.preferences.sparse_stats import SparseStats

CELL_BYTES = 28
"""Of one (fold, feature, neuron) while counting: count, sum, sum of squares, maximum."""

_BLOCK_BYTES = 1 << 26


class DenseStats:
    """Grows in blocks, so that growing never copies what is there.

    Adding to a row costs one pass over the neurons and no sorting, and a cell takes less room than a sparse row:
    worth it where more than about a fifth of the cells are in use.
    """

    def __init__(self, n_neurons: int) -> None:
        """Start empty."""
        self._n_neurons = n_neurons
        self._per_block = max(1, _BLOCK_BYTES // (CELL_BYTES * n_neurons))
        self._row_of = np.full(1024, -1, np.int64)
        self._groups: list[NDArray[np.int64]] = []
        self._n_rows = 0
        self._blocks: list[dict[str, NDArray[Any]]] = []

    @classmethod
    def of(cls, rows: SparseStats, n_neurons: int) -> DenseStats:
        """A grid that holds what `rows` of another one gave."""
        grid = cls(n_neurons)
        group, neuron = np.divmod(rows.key, n_neurons)
        row = grid._rows(np.unique(group))[np.searchsorted(np.unique(group), group)] if len(group) else group
        block, at = np.divmod(row, grid._per_block)
        for number, held in enumerate(grid._blocks):
            here = np.flatnonzero(block == number)
            for name in ("count", "sum", "sum_sq", "max"):
                held[name][at[here], neuron[here]] = getattr(rows, name)[here]
        return grid

    def add(self, part: GroupedStats) -> None:
        """Add the statistics of some groups."""
        row = self._rows(part.group)
        block, at = np.divmod(row, self._per_block)
        for number in np.unique(block).tolist():
            held = self._blocks[number]
            here = block == number
            place = at[here]
            held["count"][place] += part.count[here]
            held["sum"][place] += part.sum[here]
            held["sum_sq"][place] += part.sum_sq[here]
            held["max"][place] = np.maximum(held["max"][place], part.max[here])

    @property
    def groups(self) -> NDArray[np.int64]:
        """(n_rows,) the group of each row, in order of first sight."""
        return np.concatenate([np.zeros(0, np.int64), *self._groups])

    @property
    def used(self) -> int:
        """How many cells hold anything."""
        return sum(int(np.count_nonzero(held["count"])) for held in self._blocks)

    def taken(self, name: str, row: NDArray[np.int64]) -> NDArray[Any]:
        """(n, n_neurons) `count`, `sum`, `sum_sq` or `max` of these rows, a copy."""
        if not len(row):
            return np.zeros((0, self._n_neurons))
        block, at = np.divmod(row, self._per_block)
        found = np.empty((len(row), self._n_neurons), self._blocks[0][name].dtype)
        for number in np.unique(block).tolist():
            here = block == number
            found[here] = self._blocks[number][name][at[here]]
        return found

    def rows(self) -> SparseStats:
        """All cells in use as sparse rows, with keys `group * n_neurons + neuron`, ascending."""
        groups = self.groups
        parts = [SparseStats.empty()]
        for number, held in enumerate(self._blocks):
            of_block = groups[number * self._per_block : (number + 1) * self._per_block]
            cells = GroupedStats(of_block, **{name: array[: len(of_block)] for name, array in held.items()})
            parts.append(SparseStats.of_cells(cells, self._n_neurons))
        return SparseStats.combined(parts)

    def _rows(self, group: NDArray[np.int64]) -> NDArray[np.int64]:
        """The row of each group; new groups get the next ones."""
        highest = int(group.max(initial=0))
        if highest >= len(self._row_of):
            wider = np.full(max(highest + 1, 2 * len(self._row_of)), -1, np.int64)
            wider[: len(self._row_of)] = self._row_of
            self._row_of = wider
        new = group[self._row_of[group] < 0]
        if len(new):
            self._row_of[new] = np.arange(self._n_rows, self._n_rows + len(new))
            self._groups.append(new)
            self._n_rows += len(new)
            while self._n_rows > len(self._blocks) * self._per_block:
                shape = (self._per_block, self._n_neurons)
                self._blocks.append(
                    {
                        "count": np.zeros(shape, np.int32),
                        "sum": np.zeros(shape),
                        "sum_sq": np.zeros(shape),
                        "max": np.zeros(shape),
                    }
                )
        return self._row_of[group]
