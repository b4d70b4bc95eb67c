"""The mutable accumulator: update with activations, merge shards, freeze into preferences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from txray.arrays import Ints
from txray.errors import ShapeError, UsageError
from txray.preferences.dense_stats import DenseStats
from txray.preferences.folds import DEFAULT_FOLDS, MAX_FOLDS
from txray.preferences.grouped_stats import STATISTICS, reduced
from txray.preferences.preferences import Preferences
from txray.preferences.row_buffer import RowBuffer
from txray.preferences.runner_ups import RunnerUps, can_count, key_of
from txray.preferences.serialization import as_bytes, from_bytes
from txray.preferences.sparse_stats import SparseStats

_DENSE_SHARE = 0.3
"""Share of used cells above which a grid is used: a sparse row is 1.5 times as large as a dense cell, and sorted."""


class Tally:
    """Counts and sums of selected activations per (fold, neuron, feature), accumulated in one pass.

    Features are numbered in order of first occurrence; `freeze` sorts them, so the result depends neither on the order
    of the documents nor on the division into shards. Memory grows with the number of distinct (fold, neuron, feature)
    triples only.

    Example:
        >>> tally = Tally(n_neurons=2, folds=1)
        >>> ids = tally.feature_ids(["a", "b"])
        >>> tally.update(np.zeros(2, int), np.array([0, 1]), ids, np.array([0.5, 2.0]))
        >>> tally.freeze(stage="s", layer="rnn", feature_type="token", selection="max-1").wins()
        array([1, 1])
    """

    def __init__(self, n_neurons: int, folds: int = DEFAULT_FOLDS, *, dense: bool | None = None) -> None:
        """Start empty.

        Args:
            n_neurons: neurons of the layer.
            folds: disjoint groups of documents.
            dense: store what `update_dense` adds as a grid of all (fold, feature, neuron), which is faster and smaller
                if many of them occur, and larger if few do. Decided by the first words by default; the result is the
                same.

        Raises:
            UsageError: fewer than one neuron or fold, or too many folds.
        """
        if n_neurons < 1 or not 1 <= folds <= MAX_FOLDS:
            raise UsageError(
                f"tally: {n_neurons} neurons and {folds} folds; both must be at least 1, folds at most {MAX_FOLDS:,}"
            )
        self.n_neurons = n_neurons
        self.folds = folds
        self._ids = _numbered(())
        self._occurrences = np.zeros((folds, 1024), np.int64)
        self._rows = RowBuffer()
        # None: second places are not known.
        self._runner_ups: RowBuffer | None = None
        self._dense = dense
        self._grid: DenseStats | None = None

    @classmethod
    def of(cls, preferences: Preferences) -> Tally:
        """Return a tally with the contents of these preferences."""
        tally = cls(preferences.n_neurons, preferences.folds)
        tally._ids = _numbered(preferences.features.tolist())
        tally._occurrences = preferences.corpus_counts.copy()
        key = tally._key(preferences.fold, preferences.neuron, preferences.feature_id)
        tally._rows.push(SparseStats(key, *(getattr(preferences, name) for name in STATISTICS)))
        if preferences.runner_ups is not None:
            tally.count_runner_ups()
            tally._push_runner_ups(preferences.runner_ups.rows(tally.n_neurons, tally.folds))
        return tally

    def count_runner_ups(self) -> None:
        """Count second places from now on, if the layer is not too large for that; see `update_runner_ups`."""
        if can_count(self.n_neurons, self.folds):
            self._runner_ups = RowBuffer()

    @property
    def counts_runner_ups(self) -> bool:
        """Return whether second places are counted."""
        return self._runner_ups is not None

    def feature_ids(self, features: Sequence[str]) -> Ints:
        """Return ids of features; new ones are numbered in order of first occurrence.

        Args:
            features: (n,) names, e.g. the words of a document.

        Returns:
            (n,) int64.
        """
        ids = self._ids
        feature_ids = np.fromiter(map(ids.__getitem__, features), np.int64, len(features))
        width = self._occurrences.shape[1]
        if len(ids) > width:
            self._occurrences = np.pad(self._occurrences, ((0, 0), (0, max(len(ids) - width, width))))
        return feature_ids

    def count_occurrences(self, fold: Ints, feature_id: Ints) -> None:
        """Count occurrences of features in the corpus, with or without a selected neuron.

        Args:
            fold: (n,) fold of each word.
            feature_id: (n,) feature of each word.
        """
        np.add.at(self._occurrences, (fold, feature_id), 1)

    def update(self, fold: Ints, neuron: Ints, feature_id: Ints, activation: NDArray[np.floating]) -> None:
        """Add selected activations.

        Args:
            fold: (n,) fold of the document.
            neuron: (n,) selected neuron.
            feature_id: (n,) feature at that position.
            activation: (n,) non-negative.

        Raises:
            ShapeError: a neuron index beyond the layer.
        """
        if len(neuron) and not 0 <= int(neuron.min()) <= int(neuron.max()) < self.n_neurons:
            raise ShapeError(
                f"tally of {self.n_neurons} neurons: got neuron indices {neuron.min()} to {neuron.max()}"
            )
        self._rows.push(
            SparseStats.combined([SparseStats.of_events(self._key(fold, neuron, feature_id), activation)])
        )

    def update_runner_ups(
        self, fold: Ints, winner: Ints, neuron: Ints, feature_id: Ints, activation: NDArray[np.floating]
    ) -> None:
        """Add activations that would have been selected if `winner` were absent.

        Args:
            fold: (n,) fold of the document.
            winner: (n,) selected neuron.
            neuron: (n,) neuron that would have been selected in its place.
            feature_id: (n,) feature at that position.
            activation: (n,) activations of `neuron`, positive.
        """
        key = key_of(fold, winner, neuron, feature_id, self.n_neurons, self.folds)
        self._push_runner_ups(SparseStats.combined([SparseStats.of_events(key, activation)]))

    def update_dense(self, fold: Ints, feature_id: Ints, activations: NDArray[np.floating]) -> None:
        """Add every positive activation of every neuron (selection `all`).

        Args:
            fold: (n_words,) fold of the document.
            feature_id: (n_words,) feature at that position.
            activations: (n_words, n_neurons); entries that are not positive do not count.

        Raises:
            ShapeError: another number of neurons than the tally has.
        """
        if activations.ndim != 2 or activations.shape[1] != self.n_neurons:
            raise ShapeError(
                f"tally of {self.n_neurons} neurons: got activations of shape {activations.shape}"
            )
        for part in reduced(feature_id * self.folds + fold, activations):
            if self._dense is None:
                self._dense = int(np.count_nonzero(part.count)) > _DENSE_SHARE * part.count.size
            if self._dense:
                self._grid = self._grid or DenseStats(self.n_neurons)
                self._grid.add(part)
            else:
                self._rows.push(SparseStats.of_cells(part, self.n_neurons))

    def merge(self, other: Tally) -> None:
        """Add the contents of another tally, which stays unchanged.

        Raises:
            ShapeError: another number of neurons or folds.
        """
        if (self.n_neurons, self.folds) != (other.n_neurons, other.folds):
            raise ShapeError(
                f"cannot merge a tally of {other.n_neurons} neurons and {other.folds} folds into one of "
                f"{self.n_neurons} neurons and {self.folds} folds"
            )
        rows = other._all_rows()
        own_id = self.feature_ids(list(other._ids))
        self._occurrences[:, own_id] += other._occurrences[:, : len(own_id)]
        # The feature is the most significant part of the key; fold and neuron below it stay.
        other_id, fold_and_neuron = np.divmod(rows.key, self.folds * self.n_neurons)
        key = own_id[other_id] * (self.folds * self.n_neurons) + fold_and_neuron
        self._rows.push(SparseStats(key, rows.count, rows.sum, rows.sum_sq, rows.max))
        if self._runner_ups is None or other._runner_ups is None:
            # Those of a part would seem to be those of the whole.
            self._runner_ups = None
            return
        rows = other._runner_ups.combined()
        other_id, rest = np.divmod(rows.key, self.folds * self.n_neurons * self.n_neurons)
        key = own_id[other_id] * (self.folds * self.n_neurons * self.n_neurons) + rest
        self._push_runner_ups(SparseStats(key, rows.count, rows.sum, rows.sum_sq, rows.max))

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return the whole state as arrays; a tally that loads it continues to the same bytes."""
        grid = SparseStats.empty() if self._grid is None else self._grid.rows()
        return {
            "dense": np.array([self._dense is not None, bool(self._dense)]),
            **grid.arrays("grid."),
            **self._rows.arrays(),
            **({} if self._runner_ups is None else self._runner_ups.arrays("runner_ups.")),
            "occurrences": self._occurrences[:, : len(self._ids)],
            "features": as_bytes(list(self._ids)),
        }

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a state of `state_dict`."""
        self._ids = _numbered(from_bytes(state["features"]))
        self._occurrences = np.array(state["occurrences"])
        self._rows = RowBuffer.of_arrays(state)
        self._runner_ups = None
        if "runner_ups.rows.key" in state:
            self._runner_ups = RowBuffer.of_arrays(state, "runner_ups.")
        decided, dense = state["dense"]
        self._dense = bool(dense) if decided else None
        self._grid = None
        if self._dense:
            self._grid = DenseStats.of(SparseStats.of_arrays(state, "grid."), self.n_neurons)

    def freeze(self, *, stage: str, layer: str, feature_type: str, selection: str) -> Preferences:
        """Return the result so far, with sorted features; the tally can continue counting.

        Args:
            stage: name of the stage.
            layer: name of the layer.
            feature_type: e.g. `token`.
            selection: how activations were selected, e.g. `max-1`.
        """
        names = sorted(self._ids)
        tally_id = np.fromiter((self._ids[name] for name in names), np.int64, len(names))
        sorted_id = np.empty(len(names), np.int64)
        sorted_id[tally_id] = np.arange(len(names))
        columns = (
            self._columns(sorted_id)
            if self._grid is None or len(self._rows.combined())
            else self._grid_columns(self._grid, sorted_id)
        )
        return Preferences(
            stage=stage,
            layer=layer,
            feature_type=feature_type,
            selection=selection,
            n_neurons=self.n_neurons,
            features=np.array(names, dtype=object),
            corpus_counts=self._occurrences[:, tally_id],
            runner_ups=None
            if self._runner_ups is None
            else RunnerUps.of_rows(self._runner_ups.combined(), self.n_neurons, self.folds, sorted_id),
            **columns,
        )

    def _columns(self, sorted_id: Ints) -> dict[str, NDArray[Any]]:
        """Return the columns of all rows, in the order of `Preferences`, given each feature's index in sorted order."""
        rows = self._all_rows()
        group, neuron = np.divmod(rows.key, self.n_neurons)
        tally_id, fold = np.divmod(group, self.folds)
        feature_id = sorted_id[tally_id]
        order = np.argsort((fold * self.n_neurons + neuron) * max(len(sorted_id), 1) + feature_id)
        columns = {"fold": fold, "neuron": neuron, "feature_id": feature_id}
        columns |= {name: getattr(rows, name) for name in STATISTICS}
        return {name: column[order] for name, column in columns.items()}

    def _grid_columns(self, grid: DenseStats, sorted_id: Ints) -> dict[str, NDArray[Any]]:
        """Return the columns if there is only a grid: transposed fold by fold, without sorting."""
        tally_id, fold = np.divmod(grid.groups, self.folds)
        feature_id = sorted_id[tally_id]
        # Allocated once: parts that are joined at the end would be in memory twice.
        columns = {
            name: np.empty(grid.n_used, np.float64 if name in ("sum", "sum_sq", "max") else np.int64)
            for name in ("fold", "neuron", "feature_id", *STATISTICS)
        }
        end = 0
        for number in range(self.folds):
            row = np.flatnonzero(fold == number)
            row = row[np.argsort(feature_id[row])]
            neuron, i = np.nonzero(np.ascontiguousarray(grid.take("count", row).T))
            span = slice(end, end := end + len(neuron))
            columns["fold"][span] = number
            columns["neuron"][span] = neuron
            columns["feature_id"][span] = feature_id[row][i]
            for name in STATISTICS:
                columns[name][span] = grid.take(name, row)[i, neuron]
        return columns

    def _key(self, fold: Ints, neuron: Ints, feature_id: Ints) -> Ints:
        # The feature is the most significant part, because only its range is not known beforehand.
        return (feature_id * self.folds + fold) * self.n_neurons + neuron

    def _push_runner_ups(self, rows: SparseStats) -> None:
        if self._runner_ups is None:
            raise UsageError("tally: second places are not counted; call count_runner_ups first")
        self._runner_ups.push(rows)

    def _all_rows(self) -> SparseStats:
        if self._grid is None:
            return self._rows.combined()
        return SparseStats.combined([self._rows.combined(), self._grid.rows()])


def _numbered(names: Iterable[str]) -> defaultdict[str, int]:
    """Number names in order; looking up a new name gives it the next number."""
    ids: defaultdict[str, int] = defaultdict(None, {name: number for number, name in enumerate(names)})
    ids.default_factory = ids.__len__
    return ids
