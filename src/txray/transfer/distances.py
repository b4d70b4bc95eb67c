"""Distances between the preference distributions of the same neurons in two stages."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from txray.preferences.distributions import Distributions, aligned
from txray.preferences.preferences import Preferences


def hellinger(before: Distributions, after: Distributions) -> NDArray[np.float64]:
    """Hellinger distance of each neuron between two stages.

    H(p, q) = sqrt(sum_f (sqrt(p_f) - sqrt(q_f))^2 / 2), row by row. In this form, because
    1 - sum sqrt(p q) loses half the digits near 0.

    Args:
        before: (n_neurons, n_features) sparse rows that sum to 1, or are empty (un-preferred).
        after: the same neurons; features are aligned here.

    Returns:
        (n_neurons,) unitless, in [0, 1]; NaN where either side is empty.

    Raises:
        ShapeError: different numbers of neurons.

    Source:
        Rethmeier et al. 2020, section 2.2.
    """
    before, after = aligned(before, after)
    distance = np.sqrt(_squared_root_difference(before.matrix, after.matrix) / 2)
    distance[(before.lengths() == 0) | (after.lengths() == 0)] = np.nan
    return np.minimum(distance, 1.0)


def hellinger_length(before: Distributions, after: Distributions) -> NDArray[np.int64]:
    """Size of the union of the two feature sets of each neuron.

    Args:
        before: (n_neurons, n_features) distributions.
        after: the same neurons; features are aligned here.

    Returns:
        (n_neurons,) number of features.

    Raises:
        ShapeError: different numbers of neurons.

    Source:
        Rethmeier et al. 2020, section 2.2.
    """
    before, after = aligned(before, after)
    # Rows hold no stored zeros and no negatives, so the pattern of the sum is the union.
    return np.asarray(np.diff((before.matrix + after.matrix).tocsr().indptr), dtype=np.int64)


def hellinger_published_code(before: Preferences, after: Preferences) -> NDArray[np.float64]:
    """The quantity that the paper's published research code calls Hellinger distance.

    It departs from the paper twice: activations are divided by the neuron's whole mass first and
    averaged per feature afterwards, so rows do not sum to 1; and the distance is divided by the Hellinger
    length, which forces a 1/length trend. Kept so that its numbers can be reproduced; do not use it to
    judge change.

    Args:
        before: preferences of one layer.
        after: the same layer in another stage.

    Returns:
        (n_neurons,) NaN where either side is un-preferred.

    Raises:
        ShapeError: different numbers of neurons.

    Source:
        Behaviour of the authors' public code (copenlu/tx-ray), not of the paper.
    """
    first, second = aligned(_unnormalised(before), _unnormalised(after))
    distance = np.sqrt(_squared_root_difference(first.matrix, second.matrix)) / np.sqrt(2)
    preferred = (first.lengths() > 0) & (second.lengths() > 0)
    result = np.full(len(distance), np.nan)
    result[preferred] = distance[preferred] / hellinger_length(first, second)[preferred]
    return result


def _squared_root_difference(before: Any, after: Any) -> NDArray[np.float64]:
    difference = (before.sqrt() - after.sqrt()).tocsr()
    return np.asarray(difference.multiply(difference).sum(axis=1), dtype=np.float64).ravel()


def _unnormalised(preferences: Preferences) -> Distributions:
    totals = preferences.totals
    weight = totals.weights("mean") / preferences.mass()[totals.neuron]
    matrix = sp.csr_array(
        (weight, (totals.neuron, totals.feature_id)),
        shape=(preferences.n_neurons, len(preferences.features)),
    )
    return Distributions(matrix, preferences.features)
