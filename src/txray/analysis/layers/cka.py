"""How alike two layers are as wholes, from their moments: kernel alignment, and the best match of each neuron."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from txray.analysis.layers.moments import CrossMoments
from txray.errors import ShapeError

_NOTHING = 1e-12
"""What differences of numbers of size 1 may leave of 0."""


def cka(both: CrossMoments, first: CrossMoments, second: CrossMoments) -> float:
    """Linear centred kernel alignment: whether words that are alike in one layer are so in the other.

    `|X'Y|^2 / (|X'X| |Y'Y|)` with centred activations and Frobenius norms. Rotations of a layer's neurons, their
    order and one common scale make no difference. Few words raise it: see `cka_debiased`.

    Args:
        both: moments of the two layers.
        first: those of the first with itself, over the same words.
        second: those of the second with itself.

    Returns:
        In [0, 1], 1 for a layer with itself; NaN where no neuron of a layer moves.

    Raises:
        ShapeError: the moments are not of the same words and layers.

    Source:
        Kornblith et al. 2019, Similarity of neural network representations revisited, section 3.
    """
    _require_aligned(both, first, second)
    if both.constant_first.all() or both.constant_second.all():
        return math.nan
    # Quotients first: a square of large sums could overflow.
    joint, own, other = (float(np.linalg.norm(each.products)) for each in (both, first, second))
    return min((joint / own) * (joint / other), 1.0)


def cka_debiased(both: CrossMoments, first: CrossMoments, second: CrossMoments) -> float:
    """The same from estimates that have no bias, so that few words do not raise it.

    Each of the three sums is the unbiased estimate of the Hilbert-Schmidt independence criterion, in which no word is
    held against itself. For n words of centred activations x and y it is, but for a factor that cancels,
    `|X'Y|^2 - n/(n-2) sum |x|^2 |y|^2 + sum |x|^2 sum |y|^2 / ((n-1)(n-2))`.

    Args:
        both: moments of the two layers.
        first: those of the first with itself, over the same words.
        second: those of the second with itself.

    Returns:
        In [-1, 1], 1 for a layer with itself, around 0 for layers that have nothing to do with each other; NaN for
        fewer than 4 words, and where no neuron of a layer moves.

    Raises:
        ShapeError: the moments are not of the same words and layers.

    Source:
        Song et al. 2012, Feature selection via dependence maximization, equation 5.
    """
    _require_aligned(both, first, second)
    if both.words < 4 or both.constant_first.all() or both.constant_second.all():
        return math.nan
    norm_first, norm_second = (float(np.linalg.norm(each.products)) for each in (first, second))
    # Each relative to its sum with the bias, so that what rounding leaves of 0 can be told from something.
    own, other = _unbiased(first, norm_first * norm_first), _unbiased(second, norm_second * norm_second)
    if own <= _NOTHING or other <= _NOTHING:
        return math.nan
    joint = _unbiased(both, norm_first * norm_second)
    return float(np.clip(joint / math.sqrt(own * other), -1.0, 1.0))


def _unbiased(moments: CrossMoments, unit: float) -> float:
    """The unbiased counterpart of `|X'Y|^2`, in multiples of `unit`."""
    n = moments.words
    trace = float(moments.squares_first.sum()) * (float(moments.squares_second.sum()) / unit)
    return (
        float(np.linalg.norm(moments.products)) ** 2 / unit
        - moments.sizes / unit * (n / (n - 2))
        + trace / ((n - 1) * (n - 2))
    )


@dataclass(frozen=True, slots=True)
class BestMatches:
    """How well neurons of one layer are found again in another, by correlation; NaN where no neuron moves.

    The sign of a correlation does not count: what a neuron says by falling, another may say by rising. Neurons that
    never move have no correlation and are left out.

    Attributes:
        best_first: mean over the neurons of the first layer of the largest `|r|` with any neuron of the second.
        best_second: the same the other way round.
        one_to_one: mean `|r|` of the pairs of the assignment that makes it largest, in which each neuron has one
            partner at most; over as many pairs as the layer with fewer neurons that move has of these.

    Source:
        Bau et al. 2019, Identifying and controlling important neurons in neural machine translation (best match);
        Li et al. 2016, Convergent learning (one to one).
    """

    best_first: float
    best_second: float
    one_to_one: float


def best_matches(moments: CrossMoments) -> BestMatches:
    """The best matches of the neurons of two layers.

    Args:
        moments: of the two layers.
    """
    strength = np.abs(moments.correlation())[~moments.constant_first][:, ~moments.constant_second]
    if strength.size == 0:
        return BestMatches(math.nan, math.nan, math.nan)
    row, column = linear_sum_assignment(strength, maximize=True)
    return BestMatches(
        float(strength.max(axis=1).mean()),
        float(strength.max(axis=0).mean()),
        float(strength[row, column].mean()),
    )


def _require_aligned(both: CrossMoments, first: CrossMoments, second: CrossMoments) -> None:
    n_first, n_second = both.products.shape
    if (
        first.products.shape != (n_first, n_first)
        or second.products.shape != (n_second, n_second)
        or not both.words == first.words == second.words
    ):
        raise ShapeError(
            f"similarity of {both!r}: given with {first!r} and {second!r}; give the moments of each of the two layers "
            "with itself, over the same words"
        )
