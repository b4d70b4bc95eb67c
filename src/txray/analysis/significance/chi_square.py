"""Chi-square statistics of what a neuron selects, given how often each feature occurs."""

from __future__ import annotations

import numpy as np

from txray.analysis.significance.fold_counts import CELLS, FoldCounts
from txray.arrays import Floats
from txray.preferences.grouped_stats import run_starts

_ROUNDS = 50
"""Maximum number of rounds in which the win rates of a neuron are fitted."""

_SMALL = 1e-9
"""Shares of occurrences closer than this to 0 or 1 are rounding errors."""


def chi_square(draw: FoldCounts, left: Floats) -> Floats:
    """Return how much what each neuron selects differs between sets of folds and their complements.

    A neuron that did not change selects a constant share of the occurrences of each feature, times a factor for how
    often it responds at all. So of the activations of a feature, a share pi falls into the set, as many as of its
    occurrences; d is the number of them beyond that. The statistic is

        sum_f (d_f^2 / W_f - pi_f (1 - pi_f)) / sqrt(sum_f (pi_f (1 - pi_f))^2)

    where W_f is the number of activations in both: Pearson's chi-square, weighted so that features of which nearly all
    occurrences are in one set count less, centred and scaled. Its mean is 0 and its variance constant whatever the
    occurrences, so that the observed assignment of folds can be compared with permutations, in which the texts of both
    sides differ more or less. It is computed from numbers of activations, and from sums of activations with sums of
    squares for W_f; the larger of the two is returned. The first sees changes of how often features are selected, the
    second also changes of how strongly.

    Args:
        draw: activations of both stages, at equal numbers.
        left: (2 * folds, n) 1 for folds of the set, 0 for the others.

    Returns:
        (n_neurons, n); NaN for neurons without activations in one of the stages.
    """
    values = np.full((draw.n_neurons, left.shape[1]), np.nan)
    starts = run_starts(draw.neuron)
    if not len(starts):
        return values
    test = _GivenOccurrences(draw)
    rows = draw.neuron[starts]
    at_once = max(1, CELLS // len(draw.neuron))
    for start in range(0, left.shape[1], at_once):
        part = slice(start, start + at_once)
        values[rows, part] = test.of(left[:, part])
    values[rows[~test.on_both_sides]] = np.nan
    return values


class _GivenOccurrences:
    """Computes the statistic of one draw, for any assignment of folds to two sides."""

    def __init__(self, draw: FoldCounts) -> None:
        self._draw = draw
        starts = run_starts(draw.neuron)
        self._summing = draw.summing(starts)
        # Row of each pair's neuron among those that have pairs.
        self._row = np.repeat(np.arange(len(starts)), np.diff(self._summing.indptr))
        feature, self._feature = np.unique(draw.feature, return_inverse=True)
        folds = draw.folds
        text = draw.occurrences[feature]
        self._texts = text[:, :folds], text[:, folds:]
        occurrences = np.stack([np.asarray(side.sum(axis=1)) for side in self._texts], axis=1)[self._feature]
        wins = np.stack(
            [np.asarray(side.sum(axis=1)) for side in (draw.count[:, :folds], draw.count[:, folds:])], axis=1
        )
        self._wins, self._sums = wins.sum(axis=1), np.asarray(draw.sum.sum(axis=1))
        of_neuron = self._summing @ wins
        self.on_both_sides = (of_neuron > 0).all(axis=1)
        # (n_pairs, 2): the factor of each side for how often the neuron responds.
        self._factor = self._factors(of_neuron, occurrences)[self._row]
        self._expected = (self._factor * occurrences).sum(axis=1)

    def _factors(self, wins: Floats, occurrences: Floats) -> Floats:
        """Return (n, 2) factors under which the common rates predict the (n, 2) wins of each side; their mean is 1."""
        factor = np.ones_like(wins)
        for _ in range(_ROUNDS):
            expected = (factor[self._row] * occurrences).sum(axis=1)
            rate = np.divide(self._wins, expected, out=np.zeros_like(expected), where=expected > 0)
            predicted = self._summing @ (rate[:, None] * occurrences)
            fitted = np.divide(wins, predicted, out=np.zeros_like(wins), where=predicted > 0)
            fitted /= np.maximum(fitted.mean(axis=1, keepdims=True), np.finfo(float).tiny)
            change = np.abs(fitted - factor).max()
            factor = fitted
            if change < _SMALL:
                break
        return factor

    def of(self, left: Floats) -> Floats:
        """Return (n, n_sets) for neurons that have pairs."""
        folds = self._draw.folds
        share = np.zeros((len(self._row), left.shape[1]))
        for side, text in enumerate(self._texts):
            occurrences = np.asarray(text @ left[side * folds : (side + 1) * folds])
            share += self._factor[:, side, None] * occurrences[self._feature]
        share = np.divide(share, self._expected[:, None], out=share, where=self._expected[:, None] > 0)
        spread = share * (1 - share)
        spread[spread < _SMALL] = 0
        scale = np.sqrt(self._summing @ np.square(spread))
        values = [
            self._centred(np.asarray(matrix @ left), total, variance, share, spread)
            for matrix, total, variance in (
                (self._draw.count, self._wins, self._wins),
                (self._draw.sum, self._sums, self._wins * self._draw.mean_square),
            )
        ]
        larger = np.maximum(*values)
        return np.asarray(np.divide(larger, scale, out=np.zeros_like(larger), where=scale > 0))

    def _centred(
        self, selected: Floats, total: Floats, variance: Floats, share: Floats, spread: Floats
    ) -> Floats:
        """Return (n, n_sets) sums of d^2 / W - pi (1 - pi); `selected` is overwritten."""
        excess = np.subtract(selected, total[:, None] * share, out=selected)
        # How often the neuron responds at all varies between folds; that is no change of what it prefers.
        weighted = total[:, None] * spread
        whole = self._summing @ weighted
        overall = np.divide(self._summing @ excess, whole, out=np.zeros_like(whole), where=whole > 0)
        excess -= weighted * overall[self._row]
        np.square(excess, out=excess)
        known = variance[:, None] > 0
        terms = np.divide(excess, variance[:, None], out=np.zeros_like(excess), where=known)
        return np.asarray(self._summing @ np.where((spread > 0) & known, terms - spread, 0))
