"""Two stages fold by fold: what every statistic of change is computed from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from txray.analysis.distances import Distance, contributions
from txray.analysis.significance.downsampling import thinned
from txray.preferences.grouped_stats import run_starts
from txray.preferences.preferences import Preferences, Weight

_CELLS = 1 << 20
"""Numbers held at a time, in each of some ten arrays."""


@dataclass(frozen=True, eq=False)
class FoldCounts:
    """The selected activations of two stages, per fold, on the (neuron, feature) pairs that either prefers.

    Columns 0 .. folds-1 are the folds of the stage before, the others those of the stage after.

    Attributes:
        neuron: (n_pairs,) ascending.
        count: (n_pairs, 2 * folds) scipy CSR, float64 whole numbers of activations.
        sum: (n_pairs, 2 * folds) scipy CSR of the same pattern, sums of activations.
        n_neurons: of the layer.
    """

    neuron: NDArray[np.int64]
    count: Any
    sum: Any
    n_neurons: int

    @classmethod
    def of(cls, before: Preferences, after: Preferences) -> FoldCounts:
        """Both stages, features aligned by name; in an order that is the same whichever of the two is called before."""
        names = sorted({*before.features.tolist(), *after.features.tolist()})
        place = dict(zip(names, range(len(names)), strict=True))
        parts = []
        for side, preferences in enumerate((before, after)):
            here = np.array([place[name] for name in preferences.features.tolist()], np.int64)
            feature_id = here[preferences.feature_id] if len(here) else preferences.feature_id
            key = preferences.neuron * max(len(names), 1) + feature_id
            parts.append((key, preferences.fold + side * before.folds, preferences.count, preferences.sum))
        key, column, count, total = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        pairs, row = np.unique(key, return_inverse=True)
        shape = (len(pairs), before.folds + after.folds)
        made = sp.csr_array((np.arange(1, len(row) + 1), (row, column)), shape=shape)
        made.sort_indices()
        order = made.data - 1

        def matrix(values: NDArray[Any]) -> Any:
            return sp.csr_array((values[order].astype(np.float64), made.indices, made.indptr), shape=shape)

        return cls(pairs // max(len(names), 1), matrix(count), matrix(total), before.n_neurons)

    @property
    def folds(self) -> int:
        """Folds of a stage."""
        return int(self.count.shape[1]) // 2

    def wins(self) -> NDArray[np.float64]:
        """(n_neurons, 2 * folds) selected activations of each neuron."""
        return np.asarray((self._of_neuron() @ self.count).todense())

    def matched(self, random: np.random.Generator) -> FoldCounts:
        """The same with the stage of more activations, neuron by neuron, thinned to as many as the other has.

        A neuron that merely fires less often loses its rare features, and would look changed. What is drawn does not
        depend on which stage is called before.

        Args:
            random: draws which activations are kept.
        """
        wins = self.wins()
        of_side = np.stack((wins[:, : self.folds].sum(axis=1), wins[:, self.folds :].sum(axis=1)), axis=1)
        fewer = of_side.min(axis=1)
        neuron = np.repeat(self.neuron, np.diff(self.count.indptr))
        side = (self.count.indices >= self.folds).astype(np.int64)
        kept = self.count.data.copy()
        # Of each neuron one stage at most; its cells ascend by feature, then by fold.
        more = np.flatnonzero((of_side > fewer[:, None])[neuron, side])
        kept[more] = thinned(
            self.count.data[more].astype(np.int64), neuron[more], fewer.astype(np.int64), random
        )
        # What nothing is left of is not carried along; where all is, the pattern is shared, not copied.
        left = kept > 0
        indices, indptr = self.count.indices, self.count.indptr
        if not left.all():
            indices, indptr = indices[left], np.append(0, np.cumsum(left))[indptr]
        share = (kept / self.count.data)[left]
        count, total = (
            sp.csr_array((values, indices, indptr), shape=self.count.shape, copy=False)
            for values in (kept[left], self.sum.data[left] * share)
        )
        return FoldCounts(self.neuron, count, total, self.n_neurons)

    def of_neurons(self, chosen: NDArray[np.bool_]) -> FoldCounts:
        """Some neurons only; they keep their numbers.

        Args:
            chosen: (n_neurons,) which.
        """
        rows = np.flatnonzero(chosen[self.neuron])
        return FoldCounts(self.neuron[rows], self.count[rows], self.sum[rows], self.n_neurons)

    def divergence(
        self,
        left: NDArray[np.float64],
        right: NDArray[np.float64],
        weight: Weight,
        distance: Distance = "hellinger",
    ) -> NDArray[np.float64]:
        """How far apart each neuron's distributions over two choices of folds are: see `divergences`."""
        (found,) = self.divergences((left, right), ((0, 1),), weight, distance)
        return np.asarray(found)

    def dealt(
        self, left: NDArray[np.float64], weight: Weight, distance: Distance = "hellinger"
    ) -> NDArray[np.float64]:
        """The same for a choice of folds and all others, faster: what one side has, the other lacks.

        Args:
            left: (2 * folds, n) 1 where a fold is on the one side, 0 where it is on the other.
            weight: what distributions normalise.
            distance: which.
        """
        whole = [np.asarray(matrix.sum(axis=1))[:, None] for matrix in (self.count, self.sum)]

        def sides(part: slice) -> list[NDArray[np.float64]]:
            count, total = (np.asarray(matrix @ left[:, part]) for matrix in (self.count, self.sum))
            others = whole[0] - count
            # Counts are whole numbers, so it is known where nothing is left; of sums rounding leaves a trace.
            rest = np.where(others > 0, whole[1] - total, 0)
            return [_weighed(count, total, weight), _weighed(others, rest, weight)]

        return np.asarray(self._divergences(sides, left.shape[1], ((0, 1),), distance)[0])

    def divergences(
        self,
        choices: Sequence[NDArray[np.float64]],
        between: Sequence[tuple[int, int]],
        weight: Weight,
        distance: Distance = "hellinger",
    ) -> NDArray[np.float64]:
        """How far apart each neuron's distributions over several choices of folds are.

        Args:
            choices: (2 * folds, n) how often each fold counts, n times, for each choice.
            between: which two choices to compare.
            weight: what distributions normalise.
            distance: which.

        Returns:
            (len(between), n_neurons, n) in [0, 1]: H^2, Jensen-Shannon divergence in bits, or total variation; NaN
            where a side has nothing.
        """

        def sides(part: slice) -> list[NDArray[np.float64]]:
            return [self._weights(choice[:, part], weight) for choice in choices]

        return self._divergences(sides, choices[0].shape[1], between, distance)

    def _divergences(
        self,
        sides: Callable[[slice], list[NDArray[np.float64]]],
        n: int,
        between: Sequence[tuple[int, int]],
        distance: Distance,
    ) -> NDArray[np.float64]:
        """(len(between), n_neurons, n) of what `sides` gives: (n_pairs, n) weights of each choice."""
        result = np.full((len(between), self.n_neurons, n), np.nan)
        starts = run_starts(self.neuron)
        summing = self._summing(starts)
        at_once = max(1, _CELLS // max(1, len(self.neuron)))
        for start in range(0, n if len(starts) else 0, at_once):
            part = slice(start, start + at_once)
            # Each distribution once, however many others it is compared with.
            weights = sides(part)
            totals = [summing @ each for each in weights]
            for row, (i, j) in enumerate(between):
                found = self._between(weights[i], weights[j], totals[i], totals[j], summing, distance)
                result[row, self.neuron[starts], part] = found
        return result

    def _between(
        self,
        p: NDArray[np.float64],
        q: NDArray[np.float64],
        of_p: NDArray[np.float64],
        of_q: NDArray[np.float64],
        summing: Any,
        distance: Distance,
    ) -> NDArray[np.float64]:
        """The divergences of (n_pairs, n) weights with their (n_neurons, n) totals, for neurons that have pairs."""
        with np.errstate(divide="ignore", invalid="ignore"):
            if distance == "hellinger":
                # Shorter than the sum of squared differences; the digits that it loses near 0 are of no account here.
                found = 1 - (summing @ np.sqrt(p * q)) / np.sqrt(of_p * of_q)
            else:
                owner = np.repeat(np.arange(summing.shape[0]), np.diff(summing.indptr))
                found = summing @ contributions(distance, p / of_p[owner], q / of_q[owner])
        return np.where((of_p > 0) & (of_q > 0), np.clip(found, 0, 1), np.nan)

    def _weights(self, assignment: NDArray[np.float64], weight: Weight) -> NDArray[np.float64]:
        """(n_pairs, n) what a distribution over the assigned folds normalises."""
        # Only what is needed: a product of matrices is what takes the time.
        count, total = (
            np.zeros((0, 0)) if weight == unused else np.asarray(matrix @ assignment, np.float64)
            for matrix, unused in ((self.count, "mass"), (self.sum, "count"))
        )
        return _weighed(count, total, weight)

    def _summing(self, starts: NDArray[np.int64]) -> Any:
        """(n, n_pairs) that sums pairs neuron by neuron."""
        ends = np.append(starts, len(self.neuron))
        return sp.csr_array(
            (np.ones(len(self.neuron)), np.arange(len(self.neuron)), ends),
            shape=(len(starts), len(self.neuron)),
        )

    def _of_neuron(self) -> Any:
        """(n_neurons, n_pairs) that sums pairs neuron by neuron."""
        return sp.csr_array(
            (np.ones(len(self.neuron)), (self.neuron, np.arange(len(self.neuron)))),
            shape=(self.n_neurons, len(self.neuron)),
        )


def _weighed(count: NDArray[np.float64], total: NDArray[np.float64], weight: Weight) -> NDArray[np.float64]:
    """What a distribution normalises, of numbers of activations and their sums; `total` is used up."""
    match weight:
        case "count":
            return count
        case "mass":
            return total
        case _:
            return np.asarray(np.divide(total, count, out=total, where=count > 0))
