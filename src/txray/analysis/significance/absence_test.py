"""Whether a neuron that responded before is gone, or merely has not been met."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

REMAINING = 0.1
"""Of its former rate: a neuron that may still respond so often is rarer, not gone."""


def absence_p_values(wins: NDArray[np.float64], words: NDArray[np.float64]) -> NDArray[np.float64]:
    """Chance that a neuron which responds in one stage at a tenth of its rate in the other has no response there.

    Where it is large, nobody knows whether the neuron fell silent or became rare. Responses come in clusters, because
    documents have topics; as many as come together count as one.

    Args:
        wins: (n_neurons, 2 * folds) selected activations in each fold of both stages.
        words: (2 * folds,) of the corpora.

    Returns:
        (n_neurons,) in (0, 1]; NaN for neurons that respond in both stages, or in neither.
    """
    folds = len(words) // 2
    sides = wins[:, :folds], wins[:, folds:]
    texts = words[:folds], words[folds:]
    chance = np.full(len(wins), np.nan)
    for there, elsewhere in ((0, 1), (1, 0)):
        gone = (sides[there].sum(axis=1) > 0) & (sides[elsewhere].sum(axis=1) == 0)
        independent = sides[there][gone].sum(axis=1) / _clustering(sides[there][gone], texts[there])
        expected = REMAINING * independent * texts[elsewhere].sum() / texts[there].sum()
        chance[gone] = np.exp(-expected)
    return chance


def _clustering(wins: NDArray[np.float64], words: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n_neurons,) index of dispersion of the wins over folds of different size; at least 1, where they are Poisson."""
    expected = wins.sum(axis=1, keepdims=True) * words / words.sum()
    used = words > 0
    squared = np.square(wins[:, used] - expected[:, used]) / expected[:, used]
    return np.asarray(np.maximum(1.0, squared.sum(axis=1) / max(1, used.sum() - 1)))
