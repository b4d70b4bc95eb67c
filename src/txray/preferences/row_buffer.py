"""Buffer new rows of statistics, and sort them into the rest once there are many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from txray.preferences.sparse_stats import SparseStats

_PENDING_ROWS = 1 << 16
"""Rows that are buffered before they are sorted into the rest; about 3 MB."""


class RowBuffer:
    """Rows of statistics that grow in amortised linear time."""

    def __init__(self) -> None:
        """Start empty."""
        self._rows = SparseStats.empty()
        self._pending: list[SparseStats] = []
        self._n_pending = 0

    def push(self, rows: SparseStats) -> None:
        """Add rows."""
        self._pending.append(rows)
        self._n_pending += len(rows)
        # Buffering as many rows as are sorted already keeps the total sorting work linear in the events.
        if self._n_pending > max(_PENDING_ROWS, len(self._rows)):
            self.combined()

    def combined(self) -> SparseStats:
        """Return all rows, one per key."""
        if self._pending:
            self._rows = SparseStats.combined([self._rows, *self._pending])
            self._pending, self._n_pending = [], 0
        return self._rows

    def arrays(self, prefix: str = "") -> dict[str, NDArray[Any]]:
        """Return the whole state as arrays by name, each name with a prefix."""
        # Buffered rows stay separate: the last bits of a sum depend on the order of addition.
        buffered = SparseStats.concatenated(self._pending or [SparseStats.empty()])
        return {**self._rows.arrays(f"{prefix}rows."), **buffered.arrays(f"{prefix}pending.")}

    @classmethod
    def of_arrays(cls, state: Mapping[str, NDArray[Any]], prefix: str = "") -> RowBuffer:
        """Restore a state of `arrays`."""
        buffer = cls()
        buffer._rows = SparseStats.of_arrays(state, f"{prefix}rows.")
        buffer._pending = [SparseStats.of_arrays(state, f"{prefix}pending.")]
        buffer._n_pending = len(buffer._pending[0])
        return buffer
