"""The comparison of one set of neurons with random sets of the same size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from txray.pruning.bootstrap import INTERVAL

BETTER, WORSE, SAME = "better", "worse", "not distinguishable"

_ENOUGH_EQUAL_SETS = 19
"""Minimum number of random sets with equal metrics for a verdict: by chance, each of 20 sets is as likely to be the odd
one."""


@dataclass(frozen=True)
class RandomComparison:
    """The metric of one set compared with those of random sets.

    Attributes:
        n: number of random sets.
        mean, deviation: mean and standard deviation of the random sets.
        difference: value - mean.
        low, high: interval of the difference to one more random set, with documents resampled. If it excludes 0, the
            set is unlike a random one.
        difference_p_value: two-sided, from the same distribution as the interval; NaN if unknown.
        p_value: (1 + number of random sets at least as far from their mean) / (1 + number of random sets).
    """

    n: int
    mean: float
    deviation: float
    difference: float
    low: float
    high: float
    difference_p_value: float
    p_value: float

    def verdict(self, sign: int) -> str:
        """Return `better` or `worse` than random sets, or `not distinguishable`; `sign`: -1 if lower is better."""
        if not (np.isfinite(self.low) and np.isfinite(self.high)) or self.low <= 0 <= self.high:
            return SAME
        if _too_few_equal_sets(self.n, self.deviation):
            return SAME
        return BETTER if sign * self.difference > 0 else WORSE


def compare_with_random(
    value: float, random: Sequence[float], differences: NDArray[np.float64] | None
) -> RandomComparison:
    """Compare one value with those of random sets.

    The variance of the difference to one more random set has two parts: that between random sets, estimated from those
    drawn (with Student's t for their number), and that of the documents, from the bootstrap.

    Args:
        value: metric of the set.
        random: (n,) metrics of random sets, over the same documents.
        differences: (resamples,) value - mean of the random sets, for the same resampled groups; None if unknown.
    """
    values = np.asarray(random, np.float64)
    n = len(values)
    mean, deviation = float(values.mean()), float(values.std(ddof=1)) if n > 1 else float("nan")
    difference = value - mean
    finite = np.zeros(0) if differences is None else differences[np.isfinite(differences)]
    document_variance = float(finite.var(ddof=1)) if len(finite) > 1 else 0.0
    spread = np.sqrt(deviation**2 * (1 + 1 / n) + document_variance)
    reach = float(student.ppf((1 + INTERVAL) / 2, n - 1)) * spread if n > 1 else float("nan")
    n_as_far = int((np.abs(values - mean) >= abs(difference)).sum())
    rank_p_value = (1 + n_as_far) / (1 + n)
    p_value = rank_p_value
    if n < 2 or _too_few_equal_sets(n, deviation):
        p_value = float("nan")
    elif spread > 0:
        p_value = float(2 * student.sf(abs(difference) / spread, n - 1))
    return RandomComparison(
        n, mean, deviation, difference, difference - reach, difference + reach, p_value, rank_p_value
    )


def _too_few_equal_sets(n: int, deviation: float) -> bool:
    """Return whether all random sets have the same metric and are too few to estimate how much others vary."""
    return deviation == 0 and n < _ENOUGH_EQUAL_SETS
