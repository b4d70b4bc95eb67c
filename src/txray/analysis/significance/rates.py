"""Test of whether neurons respond more or less often per word than before."""

from __future__ import annotations

import numpy as np

from txray.analysis.significance.permutation import EQUAL, assignments, observed
from txray.arrays import Floats

_CELLS = 1 << 22
"""Maximum number of rates per batch of permutations."""

_POOLED = 0.5
"""Lower limit of the variance of one stage, as a share of what the clustering of both stages implies."""


def rate_p_values(
    wins: Floats, words: Floats, *, paired: bool, n: int, random: np.random.Generator
) -> Floats:
    """Return p-values of the difference between the win rates (wins per word) of two stages, per neuron.

    The difference of the rates is studentised: divided by its standard error, from how much the folds of each stage
    scatter about the rate of both together. Otherwise a stage that read little text scatters more than the permutations
    of folds suggest, most of which are large. The scatter of few folds with few wins is itself uncertain, so the
    variance of a stage is at least that of independent wins, and at least half of what the clustering of both stages
    together implies.

    Args:
        wins: (n_neurons, 2 * folds) selected activations in each fold of both stages.
        words: (2 * folds,) number of words in each fold.
        paired: see `assignments`.
        n: number of permutations.
        random: generator.

    Returns:
        (n_neurons,) two-sided p-values in (0, 1]; NaN for neurons that never respond, or if a stage read no words.

    Source:
        Janssen 1997 (studentised permutation tests hold their level where variances differ).
    """
    p_value = np.full(len(wins), np.nan)
    if not np.reshape(words, (2, -1)).any(axis=1).all():
        return p_value
    responding = wins.sum(axis=1) > 0
    test = _StudentisedDifference(wins[responding], words)
    actual = test.of(observed(len(words) // 2))
    extreme = np.zeros(len(actual), np.int64)
    at_once = max(1, _CELLS // max(1, len(actual)))
    for start in range(0, n, at_once):
        permuted = test.of(assignments(len(words) // 2, min(at_once, n - start), paired, random))
        # A side without words has no rate: it is as different as possible.
        extreme += (np.nan_to_num(permuted, nan=np.inf) >= actual * (1 - EQUAL)).sum(axis=1)
    p_value[responding] = (extreme + 1) / (n + 1)
    return p_value


def rate_changes(wins: Floats, words: Floats) -> Floats:
    """Return the (n_neurons,) change of the wins per word from the stage before to the stage after.

    Args:
        wins: (n_neurons, 2 * folds) selected activations in each fold of both stages.
        words: (2 * folds,) number of words in each fold.
    """
    folds = len(words) // 2
    before, after = (
        wins[:, side].sum(axis=1) / max(float(words[side].sum()), 1.0)
        for side in (slice(None, folds), slice(folds, None))
    )
    return np.asarray(after - before)


class _StudentisedDifference:
    """Absolute difference of rates over its standard error, for any assignment of folds to two sides."""

    def __init__(self, wins: Floats, words: Floats) -> None:
        self._wins, self._words = wins, words
        self._rate = (wins.sum(axis=1) / max(words.sum(), 1))[:, None]
        expected = self._rate * words
        self._squared = np.square(wins - expected)
        used = words > 0
        self._used = used.astype(np.float64)
        # Pearson's index of dispersion about the common rate: 1 where wins are independent of each other.
        dispersion = (self._squared[:, used] / expected[:, used]).sum(axis=1) / max(1, used.sum() - 2)
        self._dispersion = np.maximum(_POOLED * dispersion, 1)[:, None]

    def of(self, before: Floats) -> Floats:
        """Return (n_neurons, n) from (2 * folds, n), 1 where a fold counts as before; NaN where a side has no words."""
        with np.errstate(invalid="ignore", divide="ignore"):
            (rate, variance), (other_rate, other_variance) = (
                self._side(side) for side in (before, 1 - before)
            )
            return np.asarray(np.abs(rate - other_rate) / np.sqrt(variance + other_variance))

    def _side(self, folds: Floats) -> tuple[Floats, Floats]:
        """Return (n_neurons, n) twice: rates, and their variances."""
        words, n = self._words @ folds, self._used @ folds
        clusters = self._squared @ folds * (n / np.maximum(n - 1, 1)) / np.square(words)
        return self._wins @ folds / words, np.maximum(clusters, self._rate * self._dispersion / words)
