"""Similarity of two layers up to rotation (Procrustes) and up to a soft permutation of neurons, and their chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from txray.analysis.layers.moments import CrossMoments
from txray.arrays import Floats

_COPIES = 4096
"""Maximum number of copies of neurons per layer for an exact plan."""

_SHARPNESS, _ROUNDS = 200.0, 2_000
"""Inverse temperature and maximum number of rounds of an entropic plan."""

_DRAWS = 3
"""Number of simulated pairs of layers for the values by chance: they hardly scatter."""


@dataclass(frozen=True, slots=True)
class ChanceSimilarity:
    """Mean similarity of two layers whose words were permuted against each other; NaN if a layer is constant.

    Attributes:
        cka: exact.
        procrustes, one_to_one, soft_match: from simulated layers with the same moments.
    """

    cka: float
    procrustes: float
    one_to_one: float
    soft_match: float


def procrustes(cross: CrossMoments) -> float:
    """Return how similar two layers are after the best rotation of one of them.

    The cosine `|X'Y|_* / (|X| |Y|)` of the centred layers after the rotation, with the sum of the singular values above
    and Frobenius norms below. The Procrustes distance of the layers, scaled to norm 1, is `sqrt(2 (1 - cosine))`. It
    weighs all directions by their size, CKA by its square.

    Returns:
        In [0, 1], 1 for a layer with itself; NaN if all neurons of a layer are constant.

    Source:
        Williams et al. 2021, Generalized shape metrics on neural representations.
    """
    return _procrustes(cross.products, cross.squares_x, cross.squares_y)


def soft_match(cross: CrossMoments) -> float:
    """Return the mean `|r|` of the best soft matching, in which every neuron of both layers counts equally.

    A neuron may be shared out among several neurons of the other layer: the plan is `(n_x, n_y)`, its rows sum to
    `1 / n_x` and its columns to `1 / n_y`. For layers of the same size it is a permutation, and the value that of the
    one-to-one matching. Constant neurons are left out.

    Returns:
        In [0, 1], 1 for a layer with itself; NaN if all neurons of a layer are constant.

    Source:
        Khosla and Williams 2024, Soft matching distance (the correlation score).
    """
    strength = np.abs(cross.correlation())[~cross.constant_x][:, ~cross.constant_y]
    return _soft_match(strength) if strength.size else math.nan


def chance_similarity(
    cross: CrossMoments, self_x: CrossMoments, self_y: CrossMoments, *, seed: int = 0
) -> ChanceSimilarity:
    """Return how similar two layers are if the words of one are permuted, from their moments alone.

    Sums of products under a permutation have the covariance of one layer along their rows and that of the other along
    their columns, so such sums can be drawn without reading the text again. Words are permuted one by one, although
    words of a document resemble each other: the true reference is somewhat higher.
    """
    if cross.words < 2 or cross.constant_x.all() or cross.constant_y.all():
        return ChanceSimilarity(math.nan, math.nan, math.nan, math.nan)
    trace_x, trace_y = float(cross.squares_x.sum()), float(cross.squares_y.sum())
    norm_x, norm_y = (float(np.linalg.norm(moments.products)) for moments in (self_x, self_y))
    root_x, root_y = (_square_root(moments.products) for moments in (self_x, self_y))
    varying = np.ix_(~cross.constant_x, ~cross.constant_y)
    deviation = np.sqrt(np.outer(cross.squares_x, cross.squares_y)[varying])
    random = np.random.default_rng(seed)
    values = []
    for _ in range(_DRAWS):
        drawn = root_x @ random.standard_normal(cross.products.shape) @ root_y / math.sqrt(cross.words - 1)
        strength = np.minimum(np.abs(drawn[varying]) / deviation, 1.0)
        row, column = linear_sum_assignment(strength, maximize=True)
        values.append(
            (
                _procrustes(drawn, cross.squares_x, cross.squares_y),
                float(strength[row, column].mean()),
                _soft_match(strength),
            )
        )
    expected = (trace_x / norm_x) * (trace_y / norm_y) / (cross.words - 1)
    return ChanceSimilarity(min(expected, 1.0), *(float(mean) for mean in np.mean(values, axis=0)))


def _procrustes(products: Floats, squares_x: Floats, squares_y: Floats) -> float:
    size = math.sqrt(squares_x.sum()) * math.sqrt(squares_y.sum())
    if size == 0:
        return math.nan
    return min(float(np.linalg.svd(products, compute_uv=False).sum()) / size, 1.0)


def _square_root(products: Floats) -> Floats:
    """Return the symmetric square root of a positive semi-definite matrix."""
    values, vectors = np.linalg.eigh(products)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)


def _soft_match(strength: Floats) -> float:
    """Return the mean of (n_x, n_y) strengths under the plan with equal rows and equal columns that maximizes it."""
    n_x, n_y = strength.shape
    copies = math.lcm(n_x, n_y)
    if copies > _COPIES:
        return float((_entropic_plan(strength) * strength).sum())
    # With as many copies of each neuron as make both sides equally large, the plan is an assignment.
    copied = np.repeat(np.repeat(strength, copies // n_x, axis=0), copies // n_y, axis=1)
    row, column = linear_sum_assignment(copied, maximize=True)
    return float(copied[row, column].mean())


def _entropic_plan(strength: Floats) -> Floats:
    """Return a plan close to the best one; its value is a lower bound, because its rows and columns are exact.

    Source:
        Cuturi 2013, Sinkhorn distances; Altschuler et al. 2017 (rounding to exact rows and columns).
    """
    n_x, n_y = strength.shape
    # Strengths lie between 0 and 1, so no weight underflows.
    kernel = np.exp(_SHARPNESS * (strength - strength.max()))
    across = np.full(n_y, 1.0)
    for _ in range(_ROUNDS):
        along = 1 / n_x / (kernel @ across)
        sums = kernel.T @ along
        if np.abs(across * sums - 1 / n_y).sum() < 1e-6:
            break
        across = 1 / n_y / sums
    plan = along[:, None] * kernel * across
    plan *= np.minimum(1 / n_x / plan.sum(axis=1), 1)[:, None]
    plan *= np.minimum(1 / n_y / plan.sum(axis=0), 1)
    rest_x, rest_y = 1 / n_x - plan.sum(axis=1), 1 / n_y - plan.sum(axis=0)
    total = rest_x.sum()
    return np.asarray(plan + np.outer(rest_x, rest_y) / total if total > 1e-15 else plan)
