"""How many features a neuron would prefer, had it responded as rarely as in the other stage."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from txray.preferences.preferences import Preferences


def rarefied_lengths(preferences: Preferences, wins: NDArray[np.int64]) -> NDArray[np.float64]:
    """Expected number of distinct features among some of each neuron's activations.

    Lengths grow with the number of activations alone; at equal numbers they can be compared.

    Args:
        preferences: of one stage.
        wins: (n_neurons,) activations drawn without replacement; all of them where a neuron has no more.

    Returns:
        (n_neurons,) expected lengths; 0 where nothing is drawn.

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
