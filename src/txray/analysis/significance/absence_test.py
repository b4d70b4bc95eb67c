"""Test of whether a neuron that responded in one stage is gone in the other, or was merely not observed."""

from __future__ import annotations

import numpy as np

from txray.arrays import Floats

REMAINING = 0.1
"""Share of its rate: a neuron that may still respond at this rate is rarer, not gone."""


def absence_p_values(wins: Floats, words: Floats) -> Floats:
    """Return the probability that a neuron has no response in one stage at a tenth of its rate in the other.

    If it is large, the neuron may have become rare instead of unused. Responses cluster, because documents have topics;
    a cluster counts as one.

    Args:
        wins: (n_neurons, 2 * folds) selected activations in each fold of both stages.
        words: (2 * folds,) number of words in each fold.

    Returns:
        (n_neurons,) in (0, 1]; NaN for neurons that respond in both stages, or in neither.
    """
    folds = len(words) // 2
    sides = wins[:, :folds], wins[:, folds:]
    texts = words[:folds], words[folds:]
    probability = np.full(len(wins), np.nan)
    for active, silent in ((0, 1), (1, 0)):
        gone = (sides[active].sum(axis=1) > 0) & (sides[silent].sum(axis=1) == 0)
        independent = sides[active][gone].sum(axis=1) / _clustering(sides[active][gone], texts[active])
        expected = REMAINING * independent * texts[silent].sum() / texts[active].sum()
        probability[gone] = np.exp(-expected)
    return probability


def _clustering(wins: Floats, words: Floats) -> Floats:
    """Return (n_neurons,) indices of dispersion of the wins over folds; at least 1, the value of a Poisson process."""
    expected = wins.sum(axis=1, keepdims=True) * words / words.sum()
    used = words > 0
    squared = np.square(wins[:, used] - expected[:, used]) / expected[:, used]
    return np.asarray(np.maximum(1.0, squared.sum(axis=1) / max(1, used.sum() - 1)))
