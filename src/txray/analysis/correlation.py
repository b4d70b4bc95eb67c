"""Rank correlation of two quantities over the steps of a training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import permutation_test, rankdata

from txray.arrays import Floats
from txray.text import plural


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation of a few pairs.

    Attributes:
        rho: from -1 to 1; None with fewer than three pairs, or if one side is constant.
        p_value: two-sided, by permutation of the pairs: exact if all can be tried.
        partial: partial correlation given the order of the pairs: in a training all changes slow down, so unrelated
            quantities correlate. None if one of them rises or falls with every pair.
        n: number of pairs.
    """

    rho: float | None
    p_value: float | None
    partial: float | None
    n: int

    def finding(self, first: str, second: str) -> str:
        """Return a clause on the correlation of two quantities: size, p-value, and what remains without the trend.

        Args:
            first, second: names of the quantities, plain text.
        """
        steps = plural(self.n, "step")
        if self.rho is None or self.p_value is None:
            return f"{first} and {second} cannot be correlated over {steps}"
        size = f"rho = {self.rho:.2f}, p = {self.p_value:.2g}, {steps}"
        if self.p_value > _SIGNIFICANT:
            return f"{first} and {second} do not correlate significantly ({size})"
        clause = f"{first} and {second} correlate ({size})"
        if self.partial is None:
            return f"{clause}, but one of them merely rises or falls from step to step"
        return f"{clause}; without the common trend rho = {self.partial:.2f}"


_SIGNIFICANT = 0.05


def rank_correlation(x: Floats, y: Floats, *, permutations: int = 10_000, seed: int = 0) -> RankCorrelation:
    """Return Spearman's rank correlation, with its p-value and without the trend.

    Args:
        x, y: (n,) in order; pairs with a NaN are ignored.
        permutations: maximum number of permutations.
        seed: random seed, used if not all permutations are tried.
    """
    known = np.isfinite(x) & np.isfinite(y)
    order = rankdata(np.flatnonzero(known))
    first, second = rankdata(x[known]), rankdata(y[known])
    n = len(order)
    rho = _correlation(first, second)
    if n < 3 or not np.isfinite(rho):
        return RankCorrelation(None, None, None, n)
    test = permutation_test(
        (first,),
        lambda shuffled: _correlation(shuffled, second),
        permutation_type="pairings",
        n_resamples=permutations,
        rng=np.random.default_rng(seed),
    )
    trend_first, trend_second = _correlation(first, order), _correlation(second, order)
    remainder = np.sqrt(max(0.0, (1 - trend_first**2) * (1 - trend_second**2)))
    partial = float((rho - trend_first * trend_second) / remainder) if remainder > 1e-12 else None
    return RankCorrelation(float(rho), float(test.pvalue), partial, n)


def _correlation(x: Floats, y: Floats) -> float:
    """Return Pearson's correlation; NaN if one side is constant."""
    if len(x) < 2:
        return float("nan")
    left, right = x - x.mean(), y - y.mean()
    size = np.sqrt((left @ left) * (right @ right))
    return float(left @ right / size) if size > 0 else float("nan")
