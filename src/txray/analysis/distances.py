"""Distances between the preference distributions of the same neurons in two stages."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from scipy.special import rel_entr

from txray.arrays import Floats, Ints
from txray.errors import ShapeError, UnknownNameError
from txray.preferences.distributions import Distributions, aligned
from txray.preferences.preferences import Preferences

Distance = Literal["hellinger", "jensen-shannon", "total-variation"]
"""Name of a distance between two distributions."""

DISTANCES: tuple[Distance, ...] = ("hellinger", "jensen-shannon", "total-variation")
"""The distances that can be tested."""


def hellinger(before: Distributions, after: Distributions) -> Floats:
    """Return the Hellinger distance of each neuron between two stages.

    H(p, q) = sqrt(sum_f (sqrt(p_f) - sqrt(q_f))^2 / 2), row by row. In this form, because
    1 - sum sqrt(p q) loses half the digits near 0.

    Args:
        before: (n_neurons, n_features) sparse rows that sum to 1, or are empty (un-preferred).
        after: the same neurons and features (`txray.preferences.aligned`).

    Returns:
        (n_neurons,) unitless, in [0, 1]; NaN if either side is empty.

    Raises:
        ShapeError: different numbers of neurons, or different features.

    Source:
        Rethmeier et al. 2020, section 2.2.
    """
    _require_aligned(before, after)
    distance = _root_distance(before.matrix, after.matrix)
    distance[(before.lengths() == 0) | (after.lengths() == 0)] = np.nan
    return np.minimum(distance, 1.0)


def hellinger_length(before: Distributions, after: Distributions) -> Ints:
    """Return the size of the union of the two feature sets of each neuron.

    Args:
        before: (n_neurons, n_features) distributions.
        after: the same neurons and features (`txray.preferences.aligned`).

    Returns:
        (n_neurons,) number of features.

    Raises:
        ShapeError: different numbers of neurons, or different features.

    Source:
        Rethmeier et al. 2020, section 2.2.
    """
    _require_aligned(before, after)
    # Rows hold no stored zeros and no negatives, so the pattern of the sum is the union.
    return np.asarray(np.diff((before.matrix + after.matrix).tocsr().indptr), dtype=np.int64)


def hellinger_published_code(before: Preferences, after: Preferences) -> Floats:
    """Return the quantity that the paper's published research code calls Hellinger distance.

    It differs from the paper twice: activations are divided by the neuron's whole mass first and averaged per feature
    afterwards, so rows do not sum to 1; and the distance is divided by the Hellinger length, which forces a 1/length
    trend. It reproduces the code's numbers; do not use it to judge change.

    Args:
        before: preferences of one layer.
        after: the same layer in another stage.

    Returns:
        (n_neurons,) NaN if either side is un-preferred.

    Raises:
        ShapeError: different numbers of neurons.

    Source:
        Behaviour of the authors' public code (copenlu/tx-ray), not of the paper.
    """
    p, q = aligned(before.distributions(), after.distributions())
    return published_code_distance(before, after, p, q, hellinger_length(p, q))


def published_code_distance(
    before: Preferences, after: Preferences, p: Distributions, q: Distributions, length: Ints
) -> Floats:
    """Return `hellinger_published_code` from aligned distributions (weight `mean`) and their Hellinger lengths."""
    distance = _root_distance(
        *(sp.diags_array(_published_scale(side)) @ rows.matrix for side, rows in ((before, p), (after, q)))
    )
    preferred = (p.lengths() > 0) & (q.lengths() > 0)
    result = np.full(len(distance), np.nan)
    result[preferred] = distance[preferred] / length[preferred]
    return result


def require_distance(distance: str) -> None:
    """Raise `UnknownNameError` unless the distance is one of `DISTANCES`."""
    if distance not in DISTANCES:
        raise UnknownNameError.of("distance", distance, DISTANCES)


def contributions(distance: Literal["jensen-shannon", "total-variation"], p: Floats, q: Floats) -> Floats:
    """Return what each feature adds to the divergence of two distributions.

    The contributions sum to a value in [0, 1]: of `jensen-shannon` to the divergence in bits, of `total-variation` to
    the largest difference in the probability of any set of features.

    Source:
        Lin 1991 (Jensen-Shannon divergence).
    """
    if distance == "total-variation":
        return np.asarray(np.abs(p - q) / 2)
    middle = (p + q) / 2
    return np.asarray((rel_entr(p, middle) + rel_entr(q, middle)) / (2 * np.log(2)))


def _require_aligned(before: Distributions, after: Distributions) -> None:
    if before.matrix.shape[0] != after.matrix.shape[0]:
        raise ShapeError(
            f"distances of {before.matrix.shape[0]} and {after.matrix.shape[0]} neurons; pass the same neurons"
        )
    if before.features is not after.features and not np.array_equal(before.features, after.features):
        raise ShapeError(
            "distances of distributions over different features; align them with txray.preferences.aligned"
        )


def _root_distance(before: Any, after: Any) -> Floats:
    """Return sqrt(sum_f (sqrt(p_f) - sqrt(q_f))^2 / 2) of each row."""
    difference = (before.sqrt() - after.sqrt()).tocsr()
    np.square(difference.data, out=difference.data)
    return np.sqrt(np.asarray(difference.sum(axis=1), dtype=np.float64).ravel() / 2)


def _published_scale(preferences: Preferences) -> Floats:
    """Return (n_neurons,) row sums in the published code: mean activations over mass; 0 if un-preferred."""
    totals, mass = preferences.totals, preferences.mass()
    means = np.bincount(totals.neuron, totals.weights("mean"), preferences.n_neurons)
    return np.divide(means, mass, out=np.zeros(len(mass)), where=mass > 0)
