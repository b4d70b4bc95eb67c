"""Permutation tests of whole folds of documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, Self, TypeVar

import numpy as np
from scipy.special import comb
from scipy.stats import beta, false_discovery_control

from txray.analysis.distances import Distance
from txray.analysis.significance.fold_counts import FoldCounts
from txray.arrays import Bools, Floats, Ints
from txray.preferences.preferences import Weight

FIRST_BATCH = 200
"""Number of permutations that every neuron gets."""

STOP_AFTER_EXTREME = 10
"""Number of permutations at least as extreme as the data after which a neuron is not significant."""

CONFIDENCE = 0.975
"""Confidence that the p-value of a neuron stays significant with more permutations; then its test stops."""

EQUAL = 1e-12
"""Statistics that differ by at most this are equal, so that permutations that change nothing count as extreme."""

SAME_SPREAD = 1e-7
"""Statistics that spread by at most this share of their mean are equal."""

Statistic = Callable[[FoldCounts, Floats], Floats]
"""Function of the activations of two stages and of (2 * folds, n) sets of folds, 1 for folds of the set, that returns
(n_neurons, n): how much the set differs from the other folds; NaN for neurons un-preferred in one of the stages."""


class Folded(Protocol):
    """Activations on folds of documents, which can be permuted."""

    @property
    def folds(self) -> int:
        """Return the number of folds of each side."""

    def subset(self, mask: Bools) -> Self:
        """Return the activations of the neurons of a (n_neurons,) mask only."""


Draw = TypeVar("Draw", bound=Folded)


def assignments(folds: int, n: int, paired: bool, random: np.random.Generator) -> Floats:
    """Return random assignments of folds to the stages before and after.

    Args:
        folds: number of folds of each stage.
        n: number of assignments.
        paired: whether fold i of both stages holds the same documents. Then the two are exchanged or not, fold by fold;
            otherwise any half of all folds may become the stage before.
        random: random generator.

    Returns:
        (2 * folds, n) 1 where a fold counts as before.
    """
    if paired:
        unchanged = random.integers(0, 2, (folds, n)).astype(np.float64)
        return np.concatenate((unchanged, 1 - unchanged))
    order = np.argsort(np.argsort(random.random((2 * folds, n)), axis=0), axis=0)
    return (order < folds).astype(np.float64)


def observed(folds: int) -> Floats:
    """Return (2 * folds, 1) the observed assignment."""
    return np.repeat(np.array([1.0, 0.0]), folds)[:, None]


def divergence_statistic(weight: Weight, distance: Distance = "hellinger") -> Statistic:
    """Return the statistic of `Permutations` that is a divergence of preference distributions."""
    return lambda draw, left: draw.two_way_divergence(left, weight, distance)


def mean_statistic(
    draws: Sequence[Draw], left: Floats, statistic: Callable[[Draw, Floats], Floats]
) -> Floats:
    """Return (n_neurons, n) statistics averaged over downsamplings of the same two stages."""
    return np.asarray(np.mean([statistic(draw, left) for draw in draws], axis=0))


class Permutations:
    """Sequential permutation test of the change of each neuron.

    Neurons that are still undecided get more permutations.

    Attributes:
        observed: (n_neurons,) observed statistic; NaN for neurons that are un-preferred in one of the stages.
        n_extreme: (n_neurons,) number of permutations whose statistic was at least as large.
        n_done: (n_neurons,) number of permutations.
        null: (n_neurons,) mean statistic under permutation: what to expect if nothing changed.
        null_std: (n_neurons,) standard deviation of the statistic under permutation.
    """

    def __init__(
        self,
        draws: Sequence[Draw],
        statistic: Callable[[Draw, Floats], Floats],
        *,
        paired: bool,
        max_permutations: int,
        fdr: float,
        random: np.random.Generator,
    ) -> None:
        """Run the test.

        The test of a neuron stops when it is decided: enough permutations were as extreme, or it is significant at the
        false discovery rate `fdr` by a p-value that more permutations will hardly raise. The p-value alone would stop
        the test as soon as it happens to look small.

        Args:
            draws: random downsamplings of the same two stages.
            statistic: larger where two sets of folds differ more.
            paired: see `assignments`.
            max_permutations: maximum number of permutations per neuron.
            fdr: false discovery rate.
            random: random generator.

        Source:
            Phipson and Smyth 2010 (p-values that are never 0).
        """
        folds = draws[0].folds
        actual = observed(folds)
        self.observed = mean_statistic(draws, actual, statistic)[:, 0]
        self.n_extreme = np.zeros(len(self.observed), np.int64)
        self.n_done = np.zeros(len(self.observed), np.int64)
        total, total_sq = np.zeros(len(self.observed)), np.zeros(len(self.observed))
        undecided = np.isfinite(self.observed)
        smallest = self.observed - EQUAL * np.maximum(1, np.abs(self.observed))
        n = min(FIRST_BATCH, max_permutations)
        while n > 0 and undecided.any():
            subsets = [draw.subset(undecided) for draw in draws]
            permuted = mean_statistic(subsets, assignments(folds, n, paired, random), statistic)[undecided]
            # The divergence of a side without activations is as large as possible.
            permuted = np.nan_to_num(permuted, nan=1.0)
            total[undecided] += permuted.sum(axis=1)
            total_sq[undecided] += np.square(permuted).sum(axis=1)
            self.n_extreme[undecided] += (permuted >= smallest[undecided, None]).sum(axis=1)
            self.n_done[undecided] += n
            undecided &= (self.n_extreme < STOP_AFTER_EXTREME) & (q_values(self._highest_p_value()) > fdr)
            n = min(int(self.n_done.max()), max_permutations - int(self.n_done.max()))
        self.null, mean_sq = (
            np.divide(summed, self.n_done, out=np.full(len(summed), np.nan), where=self.n_done > 0)
            for summed in (total, total_sq)
        )
        self.null_std = np.sqrt(np.maximum(mean_sq - self.null**2, 0))

    def _highest_p_value(self) -> Floats:
        """Return (n_neurons,) upper bounds of the 95% intervals of the p-values; NaN without permutations.

        Source:
            Clopper and Pearson 1934.
        """
        tested = self.n_done > 0
        highest = np.full(len(self.n_done), np.nan)
        n_extreme = self.n_extreme[tested]
        highest[tested] = beta.ppf(
            CONFIDENCE, n_extreme + 1, np.maximum(self.n_done[tested] - n_extreme, 1e-9)
        )
        return highest

    @property
    def z_score(self) -> Floats:
        """Return (n_neurons,) by how many standard deviations the observed statistic exceeds its permutation mean.

        0 if all permutations give the observed statistic; NaN for neurons without one.
        """
        difference = self.observed - self.null
        # Below this, the standard deviation is a rounding error of the difference of squares.
        smallest = np.maximum(EQUAL, SAME_SPREAD * np.abs(self.null))
        above = np.where(np.abs(difference) <= smallest, 0.0, np.nan)
        np.divide(difference, self.null_std, out=above, where=self.null_std > smallest)
        return above

    @property
    def p_value(self) -> Floats:
        """Return (n_neurons,) (n_extreme + 1) / (n_done + 1); NaN for neurons without a statistic."""
        return np.where(self.n_done > 0, (self.n_extreme + 1) / (self.n_done + 1), np.nan)


def smallest_p_value(words: Ints, paired: bool, permutations: int) -> float:
    """Return the smallest p-value that a test can give.

    Args:
        words: (2, folds) of both stages; only folds with words count.
        paired: see `assignments`.
        permutations: maximum number of permutations.

    Returns:
        In (0, 1]. It is limited by the number of permutations, and by the number of different ones: two of these are
        always as extreme as the data, the observed one and the one that exchanges all folds.
    """
    used = [int((side > 0).sum()) for side in words]
    paired_folds = int((words > 0).all(axis=0).sum())
    ways = 2.0 ** min(paired_folds, 1_000) if paired else float(comb(sum(used), max(1, sum(used) // 2)))
    return max(1 / (permutations + 1), min(1.0, 2 / ways))


def q_values(p_value: Floats) -> Floats:
    """Return (n,) Benjamini-Hochberg adjusted p-values; NaN p-values stay NaN and do not count as tests.

    Source:
        Benjamini and Hochberg 1995.
    """
    q = np.full(len(p_value), np.nan)
    tested = np.isfinite(p_value)
    if tested.any():
        q[tested] = false_discovery_control(p_value[tested])
    return q


def layer_p_value(
    draw: Draw,
    statistic: Callable[[Draw, Floats], Floats],
    *,
    paired: bool,
    n: int,
    random: np.random.Generator,
) -> float:
    """Return the p-value of a layer as a whole: of the sum of the statistic over its neurons; NaN without any.

    All neurons are permuted together, so that it does not matter how they depend on each other.

    Args:
        draw: the two stages at equal numbers of activations.
        statistic: larger where two sets of folds differ more.
        paired: see `assignments`.
        n: number of permutations.
        random: random generator.
    """
    values = statistic(draw, observed(draw.folds))[:, 0]
    known = np.isfinite(values)
    if not known.any():
        return float("nan")
    total = values[known].sum()
    permuted = np.nan_to_num(statistic(draw, assignments(draw.folds, n, paired, random))[known], nan=1.0).sum(
        axis=0
    )
    return float((1 + (permuted >= total - EQUAL * max(1.0, abs(total))).sum()) / (1 + n))
