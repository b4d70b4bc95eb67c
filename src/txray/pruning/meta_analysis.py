"""Effects over training runs as a random sample of runs: how far further trainings would differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import t as student

from txray.pruning.bootstrap import INTERVAL


@dataclass(frozen=True)
class RandomEffects:
    """The mean effect over all trainings that these runs are a sample of.

    Attributes:
        mean: estimate.
        low, high: 95% interval.
        deviation: standard deviation between trainings.
        p_value: two-sided.
        detectable: smallest mean that would have been found at 5% with a probability of 80%.
    """

    mean: float
    low: float
    high: float
    deviation: float
    p_value: float
    detectable: float


def random_effects(effects: NDArray[np.float64], covariance: NDArray[np.float64]) -> RandomEffects:
    """Return the mean effect over trainings, by Hartung-Knapp with the between-training variance of Paule-Mandel.

    The scatter of the runs contains the noise of the documents of each, but not what shared documents add to all of
    them, which the off-diagonal covariance does. Degrees of freedom are those of the sum of both variances
    (Welch-Satterthwaite): with three trainings that scatter, hardly more than two.

    Args:
        effects: (runs,) at least 2.
        covariance: (runs, runs) of the effects over documents; 0 beside the diagonal if runs share no documents.

    Source:
        Hartung and Knapp 2001, A refined method for the meta-analysis of controlled clinical trials; Paule and Mandel
        1982, Consensus values and weighting factors.
    """
    n = len(effects)
    within = np.diag(covariance)
    between = _paule_mandel(effects, within)
    # Runs without any variance are averaged.
    weights = 1 / (within + between) if (within + between > 0).all() else np.ones(n)
    weights = weights / weights.sum()
    mean = float(weights @ effects)
    scatter = float(weights @ (effects - mean) ** 2) / (n - 1)
    shared = max(float(weights @ (covariance - np.diag(within)) @ weights), 0.0)
    variance = scatter + shared
    freedom = (n - 1) * (variance / scatter) ** 2 if scatter > 0 else np.inf
    error = float(np.sqrt(variance))
    reach = float(student.ppf((1 + INTERVAL) / 2, freedom)) * error
    p_value = float(2 * student.sf(abs(mean) / error, freedom)) if error > 0 else float(mean == 0)
    detectable = reach + float(student.ppf(0.8, freedom)) * error
    return RandomEffects(mean, mean - reach, mean + reach, float(np.sqrt(between)), p_value, detectable)


def _paule_mandel(effects: NDArray[np.float64], within: NDArray[np.float64]) -> float:
    """Return the variance between runs for which their weighted scatter is as expected; 0 if they scatter less."""

    def excess(between: float) -> float:
        weights = 1 / (within + between)
        mean = weights @ effects / weights.sum()
        return float(weights @ (effects - mean) ** 2 - (len(effects) - 1))

    spread = float(np.var(effects, ddof=1))
    if spread == 0:
        return 0.0
    if not (within > 0).all():
        return max(spread - float(within.mean()), 0.0)
    if excess(0.0) <= 0:
        return 0.0
    return float(brentq(excess, 0.0, len(effects) * spread + float(within.max())))
