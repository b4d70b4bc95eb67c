"""Dense statistics: one row per (fold, feature), one column per neuron, for selections that credit most neurons."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from txray.arrays import Ints
from txray.preferences.grouped_stats import STATISTICS, GroupedStats
from txray.preferences.sparse_stats import SparseStats

CELL_BYTES = 28
"""Memory of one (fold, feature, neuron): count, sum, sum of squares, maximum."""

_BLOCK_BYTES = 1 << 26


class DenseStats:
    """Statistics per (group, neuron) in a dense grid, which grows in blocks so that growing copies nothing.

    Adding to a row takes one pass over the neurons and no sorting, and a cell is smaller than a sparse row: worth it if
    more than about a fifth of the cells are in use.
    """

    def __init__(self, n_neurons: int) -> None:
        """Start empty."""
        self._n_neurons = n_neurons
        self._per_block = max(1, _BLOCK_BYTES // (CELL_BYTES * n_neurons))
        self._row_of = np.full(1024, -1, np.int64)
        self._groups: list[Ints] = []
        self._n_rows = 0
        self._blocks: list[dict[str, NDArray[Any]]] = []

    @classmethod
    def of(cls, rows: SparseStats, n_neurons: int) -> DenseStats:
        """Restore a grid from its `rows`."""
        grid = cls(n_neurons)
        group, neuron = np.divmod(rows.key, n_neurons)
        row = grid._rows(np.unique(group))[np.searchsorted(np.unique(group), group)] if len(group) else group
        number, offset = np.divmod(row, grid._per_block)
        for i, block in enumerate(grid._blocks):
            in_block = np.flatnonzero(number == i)
            for name in STATISTICS:
                block[name][offset[in_block], neuron[in_block]] = getattr(rows, name)[in_block]
        return grid

    def add(self, part: GroupedStats) -> None:
        """Add the statistics of some groups."""
        number, offset = np.divmod(self._rows(part.group), self._per_block)
        for i in np.unique(number).tolist():
            block = self._blocks[i]
            in_block = number == i
            row = offset[in_block]
            for name in ("count", "sum", "sum_sq"):
                block[name][row] += getattr(part, name)[in_block]
            block["max"][row] = np.maximum(block["max"][row], part.max[in_block])

    @property
    def groups(self) -> Ints:
        """(n_rows,) the group of each row, in order of first occurrence."""
        return np.concatenate([np.zeros(0, np.int64), *self._groups])

    @property
    def n_used(self) -> int:
        """Number of cells in use."""
        return sum(int(np.count_nonzero(block["count"])) for block in self._blocks)

    def take(self, name: str, row: Ints) -> NDArray[Any]:
        """Return a copy of `count`, `sum`, `sum_sq` or `max` of these rows: (n, n_neurons)."""
        if not len(row):
            return np.zeros((0, self._n_neurons))
        number, offset = np.divmod(row, self._per_block)
        values = np.empty((len(row), self._n_neurons), self._blocks[0][name].dtype)
        for i in np.unique(number).tolist():
            in_block = number == i
            values[in_block] = self._blocks[i][name][offset[in_block]]
        return values

    def rows(self) -> SparseStats:
        """Return all cells in use as sparse rows with ascending keys `group * n_neurons + neuron`."""
        groups = self.groups
        parts = [SparseStats.empty()]
        for i, block in enumerate(self._blocks):
            group = groups[i * self._per_block : (i + 1) * self._per_block]
            cells = GroupedStats(group, **{name: array[: len(group)] for name, array in block.items()})
            parts.append(SparseStats.of_cells(cells, self._n_neurons))
        return SparseStats.combined(parts)

    def _rows(self, group: Ints) -> Ints:
        """Return the row of each group; new groups get the next rows."""
        missing = int(group.max(initial=0)) + 1 - len(self._row_of)
        if missing > 0:
            self._row_of = np.pad(self._row_of, (0, max(missing, len(self._row_of))), constant_values=-1)
        new = group[self._row_of[group] < 0]
        if len(new):
            self._row_of[new] = np.arange(self._n_rows, self._n_rows + len(new))
            self._groups.append(new)
            self._n_rows += len(new)
            while self._n_rows > len(self._blocks) * self._per_block:
                shape = (self._per_block, self._n_neurons)
                self._blocks.append(
                    {
                        name: np.zeros(shape, np.int32 if name == "count" else np.float64)
                        for name in STATISTICS
                    }
                )
        return self._row_of[group]
