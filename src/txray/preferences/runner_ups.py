"""Second places: which neuron would have been credited if one of the winners were absent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from txray.arrays import Floats, Ints
from txray.errors import ShapeError, UsageError
from txray.preferences.grouped_stats import STATISTICS, run_starts
from txray.preferences.sparse_stats import SparseStats

if TYPE_CHECKING:
    from txray.preferences.preferences import Preferences

MAX_PAIRS = 1 << 42
"""Maximum number of (fold, winner, runner-up) for which second places are counted; their keys must fit 64 bits."""

_COLUMNS = ("winner", "fold", "neuron", "feature_id", *STATISTICS)


def can_count(n_neurons: int, folds: int) -> bool:
    """Return whether second places of a layer of this size can be counted."""
    return n_neurons > 1 and n_neurons * n_neurons * folds <= MAX_PAIRS


@dataclass(frozen=True, eq=False)
class RunnerUps:
    """Activations that would have been selected if one winner were absent.

    With `max-1`, the second strongest neuron of a word is next behind its winner. With `max-k`, the neuron of rank
    k + 1 is next behind each of the k winners. Words in which no other neuron is positive have none.

    Attributes:
        winner: (n_rows,) int64 neuron that was credited.
        fold, neuron, feature_id: (n_rows,) int64; the neuron is the one that would have been credited. Rows are sorted
            by fold, winner, neuron and feature, each once.
        count: (n_rows,) int64 words.
        sum, sum_sq, max: (n_rows,) float64 of the activations of `neuron` at these words.

    Raises:
        ShapeError: columns of different length.
    """

    winner: Ints
    fold: Ints
    neuron: Ints
    feature_id: Ints
    count: Ints
    sum: Floats
    sum_sq: Floats
    max: Floats

    def __post_init__(self) -> None:
        lengths = {len(getattr(self, name)) for name in _COLUMNS}
        if len(lengths) != 1:
            raise ShapeError(f"runner-ups: columns of lengths {sorted(lengths)}; they must be equally long")
        for name in _COLUMNS:
            getattr(self, name).flags.writeable = False

    def __len__(self) -> int:
        return len(self.winner)

    @classmethod
    def of_rows(cls, rows: SparseStats, n_neurons: int, folds: int, sorted_id: Ints) -> RunnerUps:
        """Return the runner-ups of a tally.

        Args:
            rows: statistics by `key_of`.
            n_neurons, folds: of the tally.
            sorted_id: index of each feature id of the tally among the sorted features.
        """
        group, neuron = np.divmod(rows.key, n_neurons)
        group, winner = np.divmod(group, n_neurons)
        tally_id, fold = np.divmod(group, folds)
        columns = {"winner": winner, "fold": fold, "neuron": neuron, "feature_id": sorted_id[tally_id]}
        columns |= {name: getattr(rows, name) for name in STATISTICS}
        order = np.lexsort((columns["feature_id"], neuron, winner, fold))
        return cls(**{name: column[order] for name, column in columns.items()})

    def rows(self, n_neurons: int, folds: int) -> SparseStats:
        """Return the statistics by key, as a tally holds them, given features numbered as in `feature_id`."""
        key = key_of(self.fold, self.winner, self.neuron, self.feature_id, n_neurons, folds)
        return SparseStats(key, *(getattr(self, name) for name in STATISTICS))

    def where(self, mask: NDArray[np.bool_]) -> RunnerUps:
        """Return the rows of a (n_rows,) mask."""
        return RunnerUps(**{name: getattr(self, name)[mask] for name in _COLUMNS})

    def bounds(self, sizes: Mapping[str, int]) -> list[tuple[str, Ints, int]]:
        """Return name, values and size that they must stay below of the columns, given the sizes of preferences."""
        sizes = {**sizes, "winner": sizes["neuron"]}
        return [(f"runner-ups: {name}", getattr(self, name), size) for name, size in sizes.items()]

    def counts(self, n_neurons: int) -> Any:
        """Return the words that each winner takes from each runner-up.

        Returns:
            `scipy.sparse.csr_array` (n_neurons, n_neurons) int64, rows are winners and columns runner-ups.
        """
        key = self.winner * n_neurons + self.neuron
        order = np.argsort(key, kind="stable")
        starts = run_starts(key[order])
        winner, neuron = np.divmod(key[order][starts], n_neurons)
        total = np.add.reduceat(self.count[order], starts) if len(starts) else self.count
        return sp.csr_array((total, (winner, neuron)), shape=(n_neurons, n_neurons))


def key_of(fold: Ints, winner: Ints, neuron: Ints, feature_id: Ints, n_neurons: int, folds: int) -> Ints:
    """Return the keys of second places; the feature is the most significant part, as in `Tally`."""
    return ((feature_id * folds + fold) * n_neurons + winner) * n_neurons + neuron


def left_out(preferences: Preferences, neuron: int) -> Preferences:
    """Return the preferences of a pass without one neuron; see `Preferences.without`."""
    others = preferences.runner_ups
    if others is None:
        raise UsageError(
            f"stage {preferences.stage!r}: layer {preferences.layer!r} has no runner-ups (selection "
            f"{preferences.selection!r}); collect it again, with a selection such as 'max-1'"
        )
    return with_second_places(
        preferences, preferences.neuron != neuron, others.where(others.winner == neuron)
    )


def with_second_places(preferences: Preferences, mask: NDArray[np.bool_], others: RunnerUps) -> Preferences:
    """Return the rows of a (n_rows,) mask together with second places, as preferences without runner-ups."""
    columns = {
        name: np.concatenate((getattr(preferences, name)[mask], getattr(others, name)))
        for name in ("fold", "neuron", "feature_id", *STATISTICS)
    }
    n_neurons, n_features = preferences.n_neurons, max(len(preferences.features), 1)
    key = (columns["fold"] * n_neurons + columns["neuron"]) * n_features + columns["feature_id"]
    rows = SparseStats.combined([SparseStats(key, *(columns[name] for name in STATISTICS))])
    group, feature_id = np.divmod(rows.key, n_features)
    fold, neuron = np.divmod(group, n_neurons)
    statistics = {name: getattr(rows, name) for name in STATISTICS}
    return replace(
        preferences, fold=fold, neuron=neuron, feature_id=feature_id, runner_ups=None, **statistics
    )
