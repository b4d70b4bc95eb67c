"""Lift: how much more a neuron prefers a feature than the feature's frequency predicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from txray.arrays import Floats, Ints
from txray.errors import UsageError

if TYPE_CHECKING:
    from txray.preferences.preferences import Totals

SHRINKAGE = 5.0
"""Activations that a preference must outweigh."""


def lift(totals: Totals, corpus_counts: Ints, words: int, shrinkage: float = SHRINKAGE) -> Floats:
    """Return how many times as strongly each neuron responds to each feature as to random words of the corpus.

    lift = (observed + s) / (expected + s). `observed` is the feature's activation mass in units of the neuron's mean
    activation, so that strong activations count as several; `expected` is the neuron's number of activations times the
    feature's share of the corpus. Without shrinkage s, one activation on a word that occurs once would outdo all
    others; with it, lift is the posterior mean of a rate under a Gamma(s, s) prior, whose mean is 1: a lift that rests
    on few activations stays near 1. Its base-2 logarithm is pointwise mutual information, in bits.

    Args:
        totals: statistics per (neuron, feature), `Preferences.totals`.
        corpus_counts: (n_features,) occurrences of each feature in the corpus.
        words: of the corpus.
        shrinkage: s, in activations; 0 for none.

    Returns:
        (n,) one for each row of `totals`, above 0; 1 where the feature takes the share that it has in the corpus.

    Raises:
        UsageError: a negative shrinkage.

    Source:
        Church and Hanks 1990 (mutual information of words); DuMouchel 1999 (gamma-Poisson shrinkage).
    """
    if not shrinkage >= 0:
        raise UsageError(
            f"lift: shrinkage={shrinkage}; it must be 0 or more activations, such as {SHRINKAGE:g}"
        )
    return lift_of(
        totals.neuron, totals.count, totals.sum, corpus_counts[totals.feature_id], words, shrinkage
    )


def lift_of(
    neuron: Ints,
    count: Ints | Floats,
    mass: Floats,
    occurrences: Ints,
    words: int,
    shrinkage: float = SHRINKAGE,
) -> Floats:
    """Return the lift of each (neuron, feature), from (n,) columns; see `lift`."""
    wins = np.bincount(neuron, weights=count)[neuron]
    of_neuron = np.bincount(neuron, weights=mass)[neuron]
    share = occurrences / max(words, 1)
    # Weights of 0 have no mass; their neurons may have none at all.
    observed = np.divide(mass * wins, of_neuron, out=np.zeros(len(mass)), where=of_neuron > 0)
    return np.asarray((observed + shrinkage) / (wins * share + shrinkage))
