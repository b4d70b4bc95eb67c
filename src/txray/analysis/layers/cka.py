"""Similarity of two whole layers from their moments: kernel alignment, and best matches of neurons."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from txray.analysis.layers.moments import CrossMoments
from txray.errors import ShapeError

_ROUNDING = 1e-12
"""Rounding error of differences between numbers of size 1."""


def cka(cross: CrossMoments, self_x: CrossMoments, self_y: CrossMoments) -> float:
    """Return linear centred kernel alignment: whether words that are similar in one layer are so in the other.

    `|X'Y|^2 / (|X'X| |Y'Y|)` with centred activations and Frobenius norms. It is invariant to rotations of a layer's
    neurons, their order, and a common scale. Few words raise it: see `cka_debiased`.

    Args:
        cross: moments of the two layers x and y.
        self_x: moments of x with itself, over the same words.
        self_y: moments of y with itself.

    Returns:
        In [0, 1], 1 for a layer with itself; NaN if all neurons of a layer are constant.

    Raises:
        ShapeError: the moments are not of the same words and layers.

    Source:
        Kornblith et al. 2019, Similarity of neural network representations revisited, section 3.
    """
    _require_aligned(cross, self_x, self_y)
    if cross.constant_x.all() or cross.constant_y.all():
        return math.nan
    # Quotients first: a square of large sums could overflow.
    joint, norm_x, norm_y = (float(np.linalg.norm(part.products)) for part in (cross, self_x, self_y))
    return min((joint / norm_x) * (joint / norm_y), 1.0)


def cka_debiased(cross: CrossMoments, self_x: CrossMoments, self_y: CrossMoments) -> float:
    """Return CKA from unbiased estimates, so that few words do not raise it.

    Each of the three sums is the unbiased estimate of the Hilbert-Schmidt independence criterion, in which no word is
    compared with itself. For n words of centred activations x and y it is, up to a factor that cancels,
    `|X'Y|^2 - n/(n-2) sum |x|^2 |y|^2 + sum |x|^2 sum |y|^2 / ((n-1)(n-2))`. Arguments and errors are those of `cka`.

    Returns:
        In [-1, 1], 1 for a layer with itself, around 0 for independent layers; NaN for fewer than 4 words, or if all
        neurons of a layer are constant.

    Source:
        Song et al. 2012, Feature selection via dependence maximization, equation 5.
    """
    _require_aligned(cross, self_x, self_y)
    if cross.words < 4 or cross.constant_x.all() or cross.constant_y.all():
        return math.nan
    norm_x, norm_y = (float(np.linalg.norm(part.products)) for part in (self_x, self_y))
    # Each relative to its biased sum, so that rounding errors of 0 can be recognized.
    variance_x, variance_y = _unbiased(self_x, norm_x * norm_x), _unbiased(self_y, norm_y * norm_y)
    if variance_x <= _ROUNDING or variance_y <= _ROUNDING:
        return math.nan
    covariance = _unbiased(cross, norm_x * norm_y)
    return float(np.clip(covariance / math.sqrt(variance_x * variance_y), -1.0, 1.0))


def _unbiased(moments: CrossMoments, unit: float) -> float:
    """Return the unbiased estimate of `|X'Y|^2`, in multiples of `unit`."""
    n = moments.words
    trace = float(moments.squares_x.sum()) * (float(moments.squares_y.sum()) / unit)
    return (
        float(np.linalg.norm(moments.products)) ** 2 / unit
        - moments.sizes / unit * (n / (n - 2))
        + trace / ((n - 1) * (n - 2))
    )


@dataclass(frozen=True, slots=True)
class BestMatches:
    """How well neurons of one layer correlate with neurons of another; NaN if all neurons of a layer are constant.

    The sign of a correlation does not count. Constant neurons have no correlation and are left out.

    Attributes:
        best_before: mean over the neurons of the layer before of the largest `|r|` with any neuron of the layer after.
        best_after: mean over the neurons of the layer after of the largest `|r|` with any neuron of the layer before.
        one_to_one: mean `|r|` of the one-to-one assignment that maximizes it; it has as many pairs as the smaller layer
            has neurons that are not constant.

    Source:
        Bau et al. 2019, Identifying and controlling important neurons in neural machine translation (best match);
        Li et al. 2016, Convergent learning (one to one).
    """

    best_before: float
    best_after: float
    one_to_one: float


def best_matches(moments: CrossMoments) -> BestMatches:
    """Return the best matches of the neurons of two layers.

    Args:
        moments: of the layers before (x) and after (y).
    """
    strength = np.abs(moments.correlation())[~moments.constant_x][:, ~moments.constant_y]
    if strength.size == 0:
        return BestMatches(math.nan, math.nan, math.nan)
    row, column = linear_sum_assignment(strength, maximize=True)
    return BestMatches(
        float(strength.max(axis=1).mean()),
        float(strength.max(axis=0).mean()),
        float(strength[row, column].mean()),
    )


def _require_aligned(cross: CrossMoments, self_x: CrossMoments, self_y: CrossMoments) -> None:
    n_x, n_y = cross.products.shape
    if (
        self_x.products.shape != (n_x, n_x)
        or self_y.products.shape != (n_y, n_y)
        or not cross.words == self_x.words == self_y.words
    ):
        raise ShapeError(
            f"similarity of {cross!r}: got {self_x!r} and {self_y!r}; pass the moments of each of the two layers with "
            "itself, over the same words"
        )
