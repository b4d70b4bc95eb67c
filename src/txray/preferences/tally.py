"""The mutable accumulator: update with activations, merge shards, freeze into preferences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from txray.errors import ShapeError, UsageError
from txray.preferences.dense_stats import DenseStats
from txray.preferences.folds import DEFAULT_FOLDS, MOST_FOLDS
from txray.preferences.grouped_stats import reduced
from txray.preferences.preferences import Preferences
from txray.preferences.serialization import as_bytes, from_bytes
from txray.preferences.sparse_stats import SparseStats

_DENSE_SHARE = 0.3
"""A sparse row takes half as much room again as a dense cell, and is sorted."""

_PENDING_ROWS = 1 << 16
"""Rows collected before they are sorted into the rest; about 3 MB."""


class Tally:
    """Counts and sums of selected activations per (fold, neuron, feature), accumulated in one pass.

    Feature ids are given in order of first sight; `freeze` sorts the features, so neither the order of
    the documents nor the division into shards leaves a trace. Memory grows with the number of distinct
    (fold, neuron, feature) triples only.
    """

    def __init__(self, n_neurons: int, folds: int = DEFAULT_FOLDS, *, dense: bool | None = None) -> None:
        """Start empty.

        Args:
            n_neurons: neurons of the layer.
            folds: disjoint groups of documents.
            dense: whether what `update_dense` adds is held as a grid of all (fold, feature, neuron): faster and
                smaller where many of them occur, larger where few do. Decided by the first words that are added,
                if not given; the result is the same.

        Raises:
            UsageError: fewer than one neuron or fold, or too many folds.
        """
        if n_neurons < 1 or not 1 <= folds <= MOST_FOLDS:
            raise UsageError(
                f"tally: {n_neurons} neurons and {folds} folds; both must be at least 1, folds at most {MOST_FOLDS:,}"
            )
        self.n_neurons = n_neurons
        self.folds = folds
        self._ids = _numbered(())
        self._occurrences = np.zeros((folds, 1024), np.int64)
        self._rows = SparseStats.empty()
        self._pending: list[SparseStats] = []
        self._n_pending = 0
        self._dense = dense
        self._grid: DenseStats | None = None

    @classmethod
    def of(cls, preferences: Preferences) -> Tally:
        """A tally that holds what these preferences hold."""
        tally = cls(preferences.n_neurons, preferences.folds)
        tally._ids = _numbered(preferences.features.tolist())
        tally._occurrences = preferences.corpus_counts.copy()
        key = tally._key(preferences.fold, preferences.neuron, preferences.feature_id)
        tally._push(
            SparseStats(key, preferences.count, preferences.sum, preferences.sum_sq, preferences.max),
        )
        return tally

    def feature_ids(self, features: Sequence[str]) -> NDArray[np.int64]:
        """Ids of features, given in order of first sight.

        Args:
            features: (n,) names, e.g. the words of a document.

        Returns:
            (n,) int64.
        """
        ids = self._ids
        found = np.fromiter(map(ids.__getitem__, features), np.int64, len(features))
        if len(ids) > self._occurrences.shape[1]:
            wider = np.zeros((self.folds, max(len(ids), 2 * self._occurrences.shape[1])), np.int64)
            wider[:, : self._occurrences.shape[1]] = self._occurrences
            self._occurrences = wider
        return found

    def count_occurrences(self, fold: NDArray[np.int64], feature_id: NDArray[np.int64]) -> None:
        """Count features of the corpus, whether or not a neuron was selected there.

        Args:
            fold: (n,) fold of each word.
            feature_id: (n,) feature of each word.
        """
        np.add.at(self._occurrences, (fold, feature_id), 1)

    def update(
        self,
        fold: NDArray[np.int64],
        neuron: NDArray[np.int64],
        feature_id: NDArray[np.int64],
        activation: NDArray[np.floating],
    ) -> None:
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
        self._push(
            SparseStats.combined([SparseStats.of_events(self._key(fold, neuron, feature_id), activation)])
        )

    def update_dense(
        self,
        fold: NDArray[np.int64],
        feature_id: NDArray[np.int64],
        activations: NDArray[np.floating],
    ) -> None:
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
                self._push(SparseStats.of_cells(part, self.n_neurons))

    def merge(self, other: Tally) -> None:
        """Add everything another tally has seen; the other stays as it is.

        Raises:
            ShapeError: another number of neurons or folds.
        """
        if (self.n_neurons, self.folds) != (other.n_neurons, other.folds):
            raise ShapeError(
                f"cannot merge a tally of {other.n_neurons} neurons and {other.folds} folds into one of "
                f"{self.n_neurons} neurons and {self.folds} folds"
            )
        theirs = other._all_rows()
        here = self.feature_ids(list(other._ids))
        self._occurrences[:, here] += other._occurrences[:, : len(here)]
        feature_id, place = np.divmod(theirs.key, self.folds * self.n_neurons)
        key = here[feature_id] * (self.folds * self.n_neurons) + place
        self._push(SparseStats(key, theirs.count, theirs.sum, theirs.sum_sq, theirs.max))

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Everything it holds, as arrays; a tally restored from it goes on to the same bytes."""
        # What waits to be sorted in is kept as it is: sums depend on the order of adding up, in the last bits.
        pending = self._pending or [SparseStats.empty()]
        waiting = SparseStats(
            *(np.concatenate([getattr(rows, name) for rows in pending]) for name in SparseStats.__slots__)
        )
        grid = SparseStats.empty() if self._grid is None else self._grid.rows()
        return {
            "dense": np.array([self._dense is not None, bool(self._dense)]),
            **grid.arrays("grid."),
            **self._rows.arrays("rows."),
            **waiting.arrays("pending."),
            "occurrences": self._occurrences[:, : len(self._ids)],
            "features": as_bytes(list(self._ids)),
        }

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Become what `state` was taken from."""
        self._ids = _numbered(from_bytes(state["features"]))
        self._occurrences = np.array(state["occurrences"])
        self._rows = SparseStats.of_arrays(state, "rows.")
        self._pending = [SparseStats.of_arrays(state, "pending.")]
        self._n_pending = len(self._pending[0])
        decided, dense = state["dense"]
        self._dense = bool(dense) if decided else None
        self._grid = None
        if self._dense:
            self._grid = DenseStats.of(SparseStats.of_arrays(state, "grid."), self.n_neurons)

    def freeze(self, *, stage: str, layer: str, feature_type: str, selection: str) -> Preferences:
        """The result so far, features in sorted order; the tally can go on counting.

        Args:
            stage: name of the stage.
            layer: name of the layer.
            feature: the feature type, e.g. `token`.
            selection: how activations were selected, e.g. `max-1`.
        """
        names = sorted(self._ids)
        first_sight = np.fromiter((self._ids[name] for name in names), np.int64, len(names))
        sorted_id = np.empty(len(names), np.int64)
        sorted_id[first_sight] = np.arange(len(names))
        columns = (
            self._columns(sorted_id)
            if self._grid is None or len(self._combined())
            else self._grid_columns(self._grid, sorted_id)
        )
        return Preferences(
            stage=stage,
            layer=layer,
            feature_type=feature_type,
            selection=selection,
            n_neurons=self.n_neurons,
            features=np.array(names, dtype=object),
            corpus_counts=self._occurrences[:, first_sight],
            **columns,
        )

    def _columns(self, sorted_id: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Everything, in the order of preferences.

        Args:
            sorted_id: (n_features,) place of each feature among all in sorted order.
        """
        rows = self._all_rows()
        group, neuron = np.divmod(rows.key, self.n_neurons)
        seen_id, fold = np.divmod(group, self.folds)
        feature_id = sorted_id[seen_id]
        order = np.argsort((fold * self.n_neurons + neuron) * max(len(sorted_id), 1) + feature_id)
        columns = {"fold": fold, "neuron": neuron, "feature_id": feature_id}
        columns |= {name: getattr(rows, name) for name in ("count", "sum", "sum_sq", "max")}
        return {name: column[order] for name, column in columns.items()}

    def _grid_columns(self, grid: DenseStats, sorted_id: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """The same where there is nothing but a grid: transposed fold by fold, nothing is sorted."""
        seen_id, fold = np.divmod(grid.groups, self.folds)
        feature_id = sorted_id[seen_id]
        # Room for all of it at once: parts that are joined in the end would be there twice.
        columns = {
            name: np.empty(grid.used, np.float64 if name in ("sum", "sum_sq", "max") else np.int64)
            for name in ("fold", "neuron", "feature_id", "count", "sum", "sum_sq", "max")
        }
        end = 0
        for number in range(self.folds):
            row = np.flatnonzero(fold == number)
            row = row[np.argsort(feature_id[row])]
            neuron, place = np.nonzero(np.ascontiguousarray(grid.taken("count", row).T))
            here = slice(end, end := end + len(neuron))
            columns["fold"][here] = number
            columns["neuron"][here] = neuron
            columns["feature_id"][here] = feature_id[row][place]
            for name in ("count", "sum", "sum_sq", "max"):
                columns[name][here] = grid.taken(name, row)[place, neuron]
        return columns

    def _key(
        self, fold: NDArray[np.int64], neuron: NDArray[np.int64], feature_id: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        # The feature is the most significant part: the only one whose range is not known beforehand.
        return (feature_id * self.folds + fold) * self.n_neurons + neuron

    def _push(self, rows: SparseStats) -> None:
        self._pending.append(rows)
        self._n_pending += len(rows)
        # Waiting for as many rows as are held keeps the total sorting work linear in the events.
        if self._n_pending > max(_PENDING_ROWS, len(self._rows)):
            self._combined()

    def _all_rows(self) -> SparseStats:
        if self._grid is None:
            return self._combined()
        return SparseStats.combined([self._combined(), self._grid.rows()])

    def _combined(self) -> SparseStats:
        if self._pending:
            self._rows = SparseStats.combined([self._rows, *self._pending])
            self._pending, self._n_pending = [], 0
        return self._rows


def _numbered(names: Iterable[str]) -> defaultdict[str, int]:
    """Numbers in order; a name that is looked up for the first time gets the next one."""
    ids: defaultdict[str, int] = defaultdict(None, {name: number for number, name in enumerate(names)})
    ids.default_factory = ids.__len__
    return ids
