"""Whether two quantities rise and fall together over the steps of a training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import permutation_test, rankdata


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation of a few pairs.

    Attributes:
        rho: from -1 to 1; None with fewer than three pairs, or where one side never changes.
        p_value: two-sided, by permutation of the pairs: exact where all can be tried.
        partial: the same correlation when what both owe to the order of the pairs is taken out: over a training
            everything slows down, so two quantities that have nothing else in common go together. None where one of
            them rises or falls with every pair: then the order explains it wholly.
        n: pairs.
    """

    rho: float | None
    p_value: float | None
    partial: float | None
    n: int

    def finding(self, first: str, second: str) -> str:
        """Return a clause that says whether two quantities go together, with size, p-value and what a trend explains.

        Args:
            first, second: what the quantities are called, plain text.
        """
        if self.rho is None or self.p_value is None:
            return f"{first} and {second} cannot be correlated over {self.n} {_steps(self.n)}"
        size = f"rho = {self.rho:.2f}, p = {self.p_value:.2g}, {self.n} {_steps(self.n)}"
        if self.p_value > _SIGNIFICANT:
            return f"{first} and {second} do not correlate significantly ({size})"
        clause = f"{first} and {second} correlate ({size})"
        if self.partial is None:
            return f"{clause}, but one of them merely rises or falls from step to step"
        return f"{clause}; without the common trend rho = {self.partial:.2f}"


_SIGNIFICANT = 0.05


def _steps(n: int) -> str:
    return "step" if n == 1 else "steps"


def rank_correlation(
    x: NDArray[np.float64], y: NDArray[np.float64], *, permutations: int = 10_000, seed: int = 0
) -> RankCorrelation:
    """Spearman's rank correlation, with its p-value and without the trend.

    Args:
        x, y: (n,) in order; pairs with a NaN are left out.
        permutations: tried at most.
        seed: of the permutations, where not all are tried.
    """
    both = np.isfinite(x) & np.isfinite(y)
    order = rankdata(np.flatnonzero(both))
    first, second = rankdata(x[both]), rankdata(y[both])
    n = len(order)
    rho = _correlation(first, second)
    if n < 3 or not np.isfinite(rho):
        return RankCorrelation(None, None, None, n)
    found = permutation_test(
        (first,),
        lambda shuffled: _correlation(shuffled, second),
        permutation_type="pairings",
        n_resamples=permutations,
        rng=np.random.default_rng(seed),
    )
    of_first, of_second = _correlation(first, order), _correlation(second, order)
    left = np.sqrt(max(0.0, (1 - of_first**2) * (1 - of_second**2)))
    partial = float((rho - of_first * of_second) / left) if left > 1e-12 else None
    return RankCorrelation(float(rho), float(found.pvalue), partial, n)


def _correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Pearson's correlation; NaN where one side is constant."""
    if len(x) < 2:
        return float("nan")
    left, right = x - x.mean(), y - y.mean()
    size = np.sqrt((left @ left) * (right @ right))
    return float(left @ right / size) if size > 0 else float("nan")
