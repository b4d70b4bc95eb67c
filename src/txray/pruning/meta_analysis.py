"""Effects over training runs as a random sample of runs: how far further trainings would differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm
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
    them, which the off-diagonal covariance does. Reaches of both parts are combined as squares: Student's t with
    runs - 1 degrees of freedom for the scatter, the normal distribution for the shared documents.

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

    def reach(probability: float) -> float:
        """Return how far the mean is from the truth with some one-sided probability."""
        of_runs, of_documents = float(student.ppf(probability, n - 1)), float(norm.ppf(probability))
        return float(np.sqrt(of_runs**2 * scatter + of_documents**2 * shared))

    half_width = reach((1 + INTERVAL) / 2)
    p_value = float(mean == 0)
    if scatter + shared > 0:
        p_value = float(brentq(lambda p: reach(1 - p / 2) - abs(mean), 1e-12, 1)) if mean else 1.0
    return RandomEffects(
        mean, mean - half_width, mean + half_width, float(np.sqrt(between)), p_value, half_width + reach(0.8)
    )


def _paule_mandel(effects: NDArray[np.float64], within: NDArray[np.float64]) -> float:
    """Return the variance between runs for which their weighted scatter is as expected; 0 if they scatter less."""

    def excess(between: float) -> float:
        weights = 1 / (within + between)
        mean = weights @ effects / weights.sum()
        return float(weights @ (effects - mean) ** 2 - (len(effects) - 1))

    spread = float(np.var(effects, ddof=1))
    if spread <= 1e-24 * max(float(np.max(effects**2)), 1e-300):  # equal up to rounding
        return 0.0
    if not (within > 0).all():
        return max(spread - float(within.mean()), 0.0)
    if excess(0.0) <= 0:
        return 0.0
    return float(brentq(excess, 0.0, len(effects) * spread + float(within.max())))
