"""Whether a change is more than chance: the folds of two stages dealt out again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import comb
from scipy.stats import beta, false_discovery_control

from txray.analysis.distances import Distance
from txray.analysis.significance.fold_counts import FoldCounts
from txray.preferences.preferences import Weight

_FIRST = 200
"""Permutations of every neuron."""

_CLEAR = 10
"""So many permutations at least as extreme settle that a neuron's change is none."""

_SURE = 0.975
"""How sure it must be that the p-value of a neuron that is done because it changed does not rise again."""

EQUAL = 1e-12
"""Statistics that differ by no more are equal: permutations that change nothing must count as extreme."""


def assignments(folds: int, n: int, paired: bool, random: np.random.Generator) -> NDArray[np.float64]:
    """Ways to deal the folds of two stages out again.

    Args:
        folds: of each stage.
        n: how many ways.
        paired: whether fold i of both stages holds the same documents: then the two are exchanged or not, fold by
            fold; else any half of all folds may become the stage before.
        random: draws.

    Returns:
        (2 * folds, n) 1 where a fold counts as before.
    """
    if paired:
        kept = random.integers(0, 2, (folds, n)).astype(np.float64)
        return np.concatenate((kept, 1 - kept))
    order = np.argsort(np.argsort(random.random((2 * folds, n)), axis=0), axis=0)
    return (order < folds).astype(np.float64)


def observed(folds: int) -> NDArray[np.float64]:
    """(2 * folds, 1) the folds as they are."""
    return np.repeat(np.array([1.0, 0.0]), folds)[:, None]


def mean_divergence(
    draws: Sequence[FoldCounts], left: NDArray[np.float64], weight: Weight, distance: Distance = "hellinger"
) -> NDArray[np.float64]:
    """(n_neurons, n) divergences averaged over draws of the same two stages, differently thinned."""
    return np.asarray(np.mean([draw.dealt(left, weight, distance) for draw in draws], axis=0))


class Permutations:
    """How often chance gives as large a divergence as was observed, with more permutations where it matters.

    Attributes:
        observed: (n_neurons,) divergence of the stages as they are; NaN where one of them prefers nothing.
        extreme: (n_neurons,) permutations whose divergence was at least as large.
        done: (n_neurons,) permutations in all.
        null: (n_neurons,) mean divergence under permutation: what is seen where nothing changed.
        spread: (n_neurons,) its standard deviation under permutation.
    """

    def __init__(
        self,
        draws: Sequence[FoldCounts],
        weight: Weight,
        distance: Distance,
        *,
        paired: bool,
        max_permutations: int,
        fdr: float,
        random: np.random.Generator,
    ) -> None:
        """Permute.

        A neuron is done when it is settled: enough permutations were as extreme, or it is significant at the false
        discovery rate `fdr` by a p-value that more permutations will hardly raise. The p-value alone would stop the
        test as soon as it happens to look small.

        Args:
            draws: of the same two stages, differently thinned.
            weight: what distributions normalise.
            distance: which.
            paired: see `assignments`.
            max_permutations: of each neuron.
            fdr: false discovery rate that is to be decided.
            random: deals.

        Source:
            Phipson and Smyth 2010 (p-values that are never 0).
        """
        folds = draws[0].folds
        actual = observed(folds)
        self.observed = mean_divergence(draws, actual, weight, distance)[:, 0]
        self.extreme = np.zeros(len(self.observed), np.int64)
        self.done = np.zeros(len(self.observed), np.int64)
        total, total_sq = np.zeros(len(self.observed)), np.zeros(len(self.observed))
        unsettled = np.isfinite(self.observed)
        n = min(_FIRST, max_permutations)
        while n > 0 and unsettled.any():
            some = [draw.of_neurons(unsettled) for draw in draws]
            dealt = assignments(folds, n, paired, random)
            found = mean_divergence(some, dealt, weight, distance)[unsettled]
            # A side that is left with nothing is as far away as can be.
            found = np.nan_to_num(found, nan=1.0)
            total[unsettled] += found.sum(axis=1)
            total_sq[unsettled] += np.square(found).sum(axis=1)
            self.extreme[unsettled] += (found >= self.observed[unsettled, None] - EQUAL).sum(axis=1)
            self.done[unsettled] += n
            unsettled &= (self.extreme < _CLEAR) & (q_values(self._highest_p_value()) > fdr)
            n = min(int(self.done.max()), max_permutations - int(self.done.max()))
        self.null, mean_sq = (
            np.divide(summed, self.done, out=np.full(len(summed), np.nan), where=self.done > 0)
            for summed in (total, total_sq)
        )
        self.spread = np.sqrt(np.maximum(mean_sq - self.null**2, 0))

    def _highest_p_value(self) -> NDArray[np.float64]:
        """(n_neurons,) upper end of the 95 % interval of the p-value of all permutations; NaN where there are none.

        Source:
            Clopper and Pearson 1934.
        """
        done = self.done > 0
        highest = np.full(len(self.done), np.nan)
        extreme = self.extreme[done]
        highest[done] = beta.ppf(_SURE, extreme + 1, np.maximum(self.done[done] - extreme, 1e-9))
        return highest

    @property
    def z_score(self) -> NDArray[np.float64]:
        """(n_neurons,) standard deviations by which the observed divergence exceeds that of chance.

        0 where every permutation gives what was observed; NaN where nothing can be compared.
        """
        above = np.where(np.abs(self.observed - self.null) <= EQUAL, 0.0, np.nan)
        np.divide(self.observed - self.null, self.spread, out=above, where=self.spread > EQUAL)
        return above

    @property
    def p_value(self) -> NDArray[np.float64]:
        """(n_neurons,) (extreme + 1) / (done + 1); NaN where nothing can be compared."""
        return np.where(self.done > 0, (self.extreme + 1) / (self.done + 1), np.nan)


def smallest_p_value(words: NDArray[np.int64], paired: bool, permutations: int) -> float:
    """The smallest p-value that a test can give, whatever changed.

    Args:
        words: (2, folds) of both stages; only folds with words count.
        paired: see `assignments`.
        permutations: at most.

    Returns:
        In (0, 1]: of so many permutations, or of all that there are. Two of these always are as extreme as what was
        observed: itself, and the one that exchanges all folds.
    """
    used = [int((side > 0).sum()) for side in words]
    both = int((words > 0).all(axis=0).sum())
    ways = 2.0 ** min(both, 1_000) if paired else float(comb(sum(used), max(1, sum(used) // 2)))
    return max(1 / (permutations + 1), min(1.0, 2 / ways))


def q_values(p_value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Benjamini-Hochberg adjusted p-values; NaN where there is no p-value, which then counts as no test.

    Args:
        p_value: (n,) in (0, 1], or NaN.

    Source:
        Benjamini and Hochberg 1995.
    """
    q = np.full(len(p_value), np.nan)
    tested = np.isfinite(p_value)
    if tested.any():
        q[tested] = false_discovery_control(p_value[tested])
    return q
