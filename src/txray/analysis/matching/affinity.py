"""Overlaps of the preference distributions of all pairs of neurons, observed and by chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from txray.analysis.matching.strata import exchanged_within_strata
from txray.analysis.subjects import require_same_feature_type
from txray.arrays import Floats, Ints
from txray.preferences.distributions import over_same_features, positions
from txray.preferences.preferences import Preferences, Weight


@dataclass(frozen=True, eq=False)
class Affinity:
    """Two layers of any size, model or stage, over the union of their features.

    The affinity of two neurons is sum_f sqrt(p_f q_f) = 1 - H^2, from 0 (disjoint) to 1 (the same).

    Attributes:
        before, after: (n_neurons, n_features) scipy CSR, square roots of the preference distributions.
        frequency: (n_features,) how often each feature occurs in both corpora.
        frequent_before, frequent_after: neurons with enough selected activations, ascending.
    """

    before: Any
    after: Any
    frequency: Ints
    frequent_before: Ints
    frequent_after: Ints

    @classmethod
    def of(cls, before: Preferences, after: Preferences, weight: Weight, min_wins: int) -> Affinity:
        """Align the features of two sides; frequent neurons have at least `min_wins` selected activations.

        Raises:
            ShapeError: different feature types.
        """
        require_same_feature_type(before, after, "match")
        p, q = over_same_features(before.distributions(weight), after.distributions(weight))
        frequency = np.zeros(len(p.features), np.int64)
        for side in (before, after):
            frequency[positions(side.features, p.features)] += side.feature_counts()
        return cls(
            p.matrix.sqrt(),
            q.matrix.sqrt(),
            frequency,
            *(np.flatnonzero(side.wins() >= min_wins) for side in (before, after)),
        )

    def observed(self) -> Floats:
        """Return (n_neurons before, n_neurons after) affinities."""
        return np.asarray((self.before @ self.after.T).toarray())

    def by_chance(self, random: np.random.Generator) -> Floats:
        """Return affinities after each feature of the later side was exchanged for one of about the same frequency."""
        exchanged = self.after[:, exchanged_within_strata(self.frequency, random)]
        return np.asarray((self.before @ exchanged.T).toarray())

    def among_frequent(self, affinity: Floats) -> Floats:
        """Return (n_frequent before, n_frequent after), the affinities of neurons with enough wins."""
        return affinity[np.ix_(self.frequent_before, self.frequent_after)]
