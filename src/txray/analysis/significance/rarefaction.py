"""Rarefaction: expected numbers of features at equal numbers of activations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln
from scipy.stats import t as student

from txray.arrays import Floats, Ints
from txray.preferences.preferences import Preferences


@dataclass(frozen=True)
class LengthChange:
    """Mean length of some neurons in two stages, at equal numbers of wins.

    Attributes:
        before, after: mean expected lengths, over the same neurons.
        low, high: bounds of the 95% interval of after - before, over neurons; None for fewer than two.
    """

    before: float
    after: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, before: Floats, after: Floats) -> LengthChange:
        """Summarize (n_neurons,) expected lengths (`rarefied_lengths`) of the same neurons, at least one."""
        change = after - before
        low = high = None
        if len(change) > 1:
            reach = (
                float(student.ppf(0.975, len(change) - 1)) * float(change.std(ddof=1)) / len(change) ** 0.5
            )
            low, high = float(change.mean()) - reach, float(change.mean()) + reach
        return cls(float(before.mean()), float(after.mean()), low, high)

    def words(self, noun: str) -> str:
        """Return a clause with both means, their difference and its interval; `noun` names one feature."""
        clause = f"at equal numbers of wins {self.before:,.1f} to {self.after:,.1f} {noun}s"
        if self.low is None or self.high is None:
            return clause
        change, low, high = (
            f"{value:+,.1f}".replace("-", "\u2212")
            for value in (self.after - self.before, self.low, self.high)
        )
        return f"{clause} ({change}, 95% interval over neurons {low} to {high})"


def rarefied_lengths(preferences: Preferences, wins: Ints) -> Floats:
    """Return the expected number of distinct features in a random sample of each neuron's activations.

    Lengths grow with the number of activations; at equal numbers they can be compared.

    Args:
        preferences: of one stage.
        wins: (n_neurons,) activations to draw without replacement; all if a neuron has fewer.

    Returns:
        (n_neurons,) expected lengths; 0 if nothing is drawn.

    Source:
        Hurlbert 1971 (rarefaction).
    """
    totals = preferences.totals
    every = preferences.wins()
    n = every[totals.neuron].astype(np.float64)
    drawn = np.minimum(wins, every)[totals.neuron].astype(np.float64)
    others = n - totals.count
    with np.errstate(invalid="ignore"):
        missed = gammaln(others + 1) - gammaln(others - drawn + 1) - gammaln(n + 1) + gammaln(n - drawn + 1)
    seen = np.where(others < drawn, 1.0, -np.expm1(np.where(others < drawn, 0.0, missed)))
    return np.bincount(totals.neuron, seen, preferences.n_neurons).astype(np.float64)
