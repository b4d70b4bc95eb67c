"""Activations of two stages fold by fold, from which every statistic of change is computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from txray.analysis.distances import Distance, contributions
from txray.analysis.significance.downsampling import downsample
from txray.arrays import Bools, Floats, Ints
from txray.preferences.distributions import positions
from txray.preferences.grouped_stats import run_starts
from txray.preferences.preferences import Preferences, Weight

CELLS = 1 << 20
"""Maximum size of each of about ten temporary arrays."""


@dataclass(frozen=True, eq=False)
class FoldCounts:
    """Selected activations of two stages per fold, for the (neuron, feature) pairs that occur in either.

    Columns 0 .. folds-1 are the folds of the stage before, the others those of the stage after.

    Attributes:
        neuron: (n_pairs,) ascending.
        count: (n_pairs, 2 * folds) scipy CSR, float64 whole numbers of activations.
        sum: (n_pairs, 2 * folds) scipy CSR of the same pattern, sums of activations.
        n_neurons: number of neurons of the layer.
        feature: (n_pairs,) row of each pair in `occurrences`.
        occurrences: (n_features, 2 * folds) scipy CSR, float64 numbers of occurrences of each feature in the texts.
        mean_square: (n_pairs,) means of the squared activations of both stages.
    """

    neuron: Ints
    count: Any
    sum: Any
    n_neurons: int
    feature: Ints
    occurrences: Any
    mean_square: Floats

    @classmethod
    def of(cls, before: Preferences, after: Preferences) -> FoldCounts:
        """Return the counts of both stages, with features aligned by name and ordered independently of the stages."""
        names = sorted({*before.features.tolist(), *after.features.tolist()})
        parts, texts = [], []
        for side, preferences in enumerate((before, after)):
            position = positions(preferences.features, names)
            fold, column = np.nonzero(preferences.corpus_counts)
            texts.append(
                (preferences.corpus_counts[fold, column], position[column], fold + side * before.folds)
            )
            feature_id = position[preferences.feature_id]
            key = preferences.neuron * max(len(names), 1) + feature_id
            parts.append(
                (
                    key,
                    preferences.fold + side * before.folds,
                    preferences.count,
                    preferences.sum,
                    preferences.sum_sq,
                )
            )
        key, column, count, total, squared = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        pairs, row = np.unique(key, return_inverse=True)
        shape = (len(pairs), before.folds + after.folds)
        # Row numbers as values, from 1 so that none is 0: sorted once, they order every other column.
        numbers = sp.csr_array((np.arange(1, len(row) + 1), (row, column)), shape=shape)
        numbers.sort_indices()
        order = numbers.data - 1

        def matrix(values: NDArray[Any]) -> Any:
            return sp.csr_array(
                (values[order].astype(np.float64), numbers.indices, numbers.indptr), shape=shape
            )

        number, feature, column = (np.concatenate(columns) for columns in zip(*texts, strict=True))
        occurrences = sp.csr_array(
            (number.astype(np.float64), (feature, column)), shape=(len(names), shape[1])
        )
        occurrences.sort_indices()
        neuron, feature_of_pair = np.divmod(pairs, max(len(names), 1))
        mean_square = np.bincount(row, squared, len(pairs)) / np.bincount(row, count, len(pairs))
        return cls(
            neuron, matrix(count), matrix(total), before.n_neurons, feature_of_pair, occurrences, mean_square
        )

    @property
    def folds(self) -> int:
        """Return the number of folds of a stage."""
        return int(self.count.shape[1]) // 2

    def wins(self) -> Floats:
        """Return (n_neurons, 2 * folds) numbers of selected activations."""
        starts = run_starts(self.neuron)
        wins = np.zeros((self.n_neurons, self.count.shape[1]))
        wins[self.neuron[starts]] = (self.summing(starts) @ self.count).toarray()
        return wins

    def downsampled(self, random: np.random.Generator, *, keep_equal: bool = False) -> FoldCounts:
        """Return a copy in which the stage with more activations is downsampled to the size of the other, per neuron.

        A neuron that merely fires less often loses its rare features, and would seem to have changed. The draw does not
        depend on the order of the stages.

        Args:
            random: random generator.
            keep_equal: whether folds in which a neuron has the same activations in both stages stay as they are.
                Otherwise, where only one fold differs, differences would appear in all.
        """
        wins = self.wins()
        of_side = np.stack((wins[:, : self.folds].sum(axis=1), wins[:, self.folds :].sum(axis=1)), axis=1)
        fewer = of_side.min(axis=1)
        neuron = np.repeat(self.neuron, np.diff(self.count.indptr))
        side = (self.count.indices >= self.folds).astype(np.int64)
        drawn = self.count.data.copy()
        # At most one stage of each neuron; its cells ascend by feature, then by fold.
        more = np.flatnonzero((of_side > fewer[:, None])[neuron, side])
        if keep_equal:
            more = more[self._differs()[neuron, self.count.indices % self.folds][more]]
            surplus = of_side.max(axis=1) - fewer
            fewer = np.bincount(neuron[more], self.count.data[more], self.n_neurons) - surplus
        drawn[more] = downsample(
            self.count.data[more].astype(np.int64), neuron[more], fewer.astype(np.int64), random
        )
        return self.thinned(drawn)

    def _differs(self) -> Bools:
        """Return (n_neurons, folds) whether the numbers of activations of a fold differ between the stages."""
        starts = run_starts(self.neuron)
        difference = abs(self.count[:, : self.folds] - self.count[:, self.folds :])
        differs = np.zeros((self.n_neurons, self.folds), bool)
        differs[self.neuron[starts]] = (self.summing(starts) @ difference).toarray() > 0
        return differs

    def thinned(self, drawn: Floats, occurrences: Any = None) -> FoldCounts:
        """Return a copy with fewer activations, whose means stay the same.

        Args:
            drawn: (nnz,) number of activations that are left of each stored cell of `count`.
            occurrences: numbers of occurrences of each feature in the texts, if there are fewer of these, too.
        """
        # Empty cells are dropped; without any, the sparsity pattern is shared, not copied.
        left = drawn > 0
        indices, indptr = self.count.indices, self.count.indptr
        if not left.all():
            indices, indptr = indices[left], np.append(0, np.cumsum(left))[indptr]
        share = (drawn / self.count.data)[left]
        count, total = (
            sp.csr_array((values, indices, indptr), shape=self.count.shape, copy=False)
            for values in (drawn[left], self.sum.data[left] * share)
        )
        return replace(
            self, count=count, sum=total, occurrences=self.occurrences if occurrences is None else occurrences
        )

    def subset(self, mask: Bools) -> FoldCounts:
        """Return the counts of the neurons of a (n_neurons,) mask only, under the same numbers."""
        rows = np.flatnonzero(mask[self.neuron])
        return replace(
            self,
            neuron=self.neuron[rows],
            count=self.count[rows],
            sum=self.sum[rows],
            feature=self.feature[rows],
            mean_square=self.mean_square[rows],
        )

    def two_way_divergence(self, left: Floats, weight: Weight, distance: Distance = "hellinger") -> Floats:
        """Return the (n_neurons, n) divergences between sets of folds and their complements; see `divergences`.

        Faster than `divergences`, because the complement is the total minus the set.

        Args:
            left: (2 * folds, n) 1 for folds of the set, 0 for the others.
            weight, distance: see `divergences`.
        """
        whole = [np.asarray(matrix.sum(axis=1))[:, None] for matrix in (self.count, self.sum)]

        def sides(part: slice) -> list[Floats]:
            count, total = (np.asarray(matrix @ left[:, part]) for matrix in (self.count, self.sum))
            others = whole[0] - count
            # Counts are exact, so they show where nothing is left; sums have rounding errors there.
            rest = np.where(others > 0, whole[1] - total, 0)
            return [_weighed(count, total, weight), _weighed(others, rest, weight)]

        return np.asarray(self._divergences(sides, left.shape[1], ((0, 1),), distance)[0])

    def divergences(
        self,
        choices: Sequence[Floats],
        between: Sequence[tuple[int, int]],
        weight: Weight,
        distance: Distance = "hellinger",
    ) -> Floats:
        """Return the divergences of each neuron between pairs of sets of folds.

        Args:
            choices: sets of folds: each (2 * folds, n), how often a fold counts, n times.
            between: pairs of indices of sets to compare.
            weight: what distributions normalise.
            distance: `hellinger`, `jensen-shannon` or `total-variation`.

        Returns:
            (len(between), n_neurons, n) in [0, 1]: H^2, Jensen-Shannon divergence in bits, or total variation; NaN if a
            side has no activations.
        """

        def sides(part: slice) -> list[Floats]:
            return [self._weights(choice[:, part], weight) for choice in choices]

        return self._divergences(sides, choices[0].shape[1], between, distance)

    def _divergences(
        self,
        sides: Callable[[slice], list[Floats]],
        n: int,
        between: Sequence[tuple[int, int]],
        distance: Distance,
    ) -> Floats:
        """Return (len(between), n_neurons, n) from `sides`, which gives the (n_pairs, n) weights of each set."""
        result = np.full((len(between), self.n_neurons, n), np.nan)
        starts = run_starts(self.neuron)
        summing = self.summing(starts)
        at_once = max(1, CELLS // max(1, len(self.neuron)))
        for start in range(0, n if len(starts) else 0, at_once):
            part = slice(start, start + at_once)
            # Each distribution is computed once, and may be compared with several others.
            weights = sides(part)
            totals = [summing @ weight for weight in weights]
            for row, (i, j) in enumerate(between):
                result[row, self.neuron[starts], part] = self._between(
                    weights[i], weights[j], totals[i], totals[j], summing, distance
                )
        return result

    def _between(
        self, p: Floats, q: Floats, total_p: Floats, total_q: Floats, summing: Any, distance: Distance
    ) -> Floats:
        """Return divergences of (n_pairs, n) weights with (n_neurons, n) totals, for neurons that have pairs."""
        with np.errstate(divide="ignore", invalid="ignore"):
            if distance == "hellinger":
                # H^2 = 1 - BC(p, q) on unnormalised weights; loses digits near 0, which the tests do not need.
                divergence = 1 - (summing @ np.sqrt(p * q)) / np.sqrt(total_p * total_q)
            else:
                owner = np.repeat(np.arange(summing.shape[0]), np.diff(summing.indptr))
                divergence = summing @ contributions(distance, p / total_p[owner], q / total_q[owner])
        return np.where((total_p > 0) & (total_q > 0), np.clip(divergence, 0, 1), np.nan)

    def _weights(self, assignment: Floats, weight: Weight) -> Floats:
        """Return (n_pairs, n) weights over the assigned folds, before they are normalised."""
        # Only what is needed: the matrix products take the time.
        count, total = (
            np.zeros((0, 0)) if weight == unused else np.asarray(matrix @ assignment, np.float64)
            for matrix, unused in ((self.count, "mass"), (self.sum, "count"))
        )
        return _weighed(count, total, weight)

    def summing(self, starts: Ints) -> Any:
        """Return (n, n_pairs) that sums pairs per neuron, for neurons that have pairs."""
        ends = np.append(starts, len(self.neuron))
        return sp.csr_array(
            (np.ones(len(self.neuron)), np.arange(len(self.neuron)), ends),
            shape=(len(starts), len(self.neuron)),
        )


def _weighed(count: Floats, total: Floats, weight: Weight) -> Floats:
    """Return what a distribution normalises, from numbers of activations and their sums; `total` is overwritten."""
    match weight:
        case "count":
            return count
        case "mass":
            return total
        case _:
            return np.asarray(np.divide(total, count, out=total, where=count > 0))
