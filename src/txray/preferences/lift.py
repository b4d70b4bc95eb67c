"""What a neuron prefers beyond how often it occurs: lift, and its logarithm, pointwise mutual information."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from txray.errors import UsageError

if TYPE_CHECKING:
    from txray.preferences.preferences import Preferences

SHRINKAGE = 5.0
"""Activations that a preference must outweigh."""


def lift(preferences: Preferences, shrinkage: float = SHRINKAGE) -> NDArray[np.float64]:
    """How many times as strongly each neuron responds to each feature as to words of the corpus at random.

    lift = (observed + s) / (expected + s). `observed` is the feature's activation mass in units of the neuron's mean
    activation, so that strong activations count as several; `expected` is the neuron's number of activations times the
    feature's share of the corpus. Without shrinkage s, one activation on a word that occurs once would outdo all
    others; with it, lift is the posterior mean of a rate under a Gamma(s, s) prior, whose mean is 1: what is known
    from few activations stays near 1. Its base-2 logarithm is pointwise mutual information, in bits.

    Args:
        preferences: of one stage.
        shrinkage: s, in activations; 0 for none.

    Returns:
        (n,) one for each row of `preferences.totals`, above 0; 1 where the feature takes the share that it has in the
        corpus.

    Raises:
        UsageError: a negative shrinkage.

    Source:
        Church and Hanks 1990 (mutual information of words); DuMouchel 1999 (gamma-Poisson shrinkage).
    """
    if not shrinkage >= 0:
        raise UsageError(
            f"lift: shrinkage={shrinkage}; it must be 0 or more activations, such as {SHRINKAGE:g}"
        )
    totals = preferences.totals
    wins, mass = preferences.wins()[totals.neuron], preferences.mass()[totals.neuron]
    share = preferences.feature_counts()[totals.feature_id] / max(preferences.words, 1)
    # Weights of 0 have no mass; their neurons may have none at all.
    observed = np.divide(totals.sum * wins, mass, out=np.zeros(len(mass)), where=mass > 0)
    return np.asarray((observed + shrinkage) / (wins * share + shrinkage))
