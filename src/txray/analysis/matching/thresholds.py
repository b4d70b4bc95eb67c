"""What affinity chance would reach, for neurons of about the same number of features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_PAIRS = 200
"""Chance pairs behind a threshold at least: 5 % of them are ten."""


@dataclass(frozen=True, eq=False)
class Thresholds:
    """Affinities that a pair must exceed to be a match.

    Chance gives short preferences large affinities: two neurons that prefer one word each are the same or disjoint. One
    threshold for all would be set by the shortest and leave the others unmatched, so each pair is held against chance
    pairs of about its own length.

    Attributes:
        length: (n,) ascending: from so many features on, of the shorter of the two, a threshold counts.
        affinity: (n,) the thresholds.
    """

    length: NDArray[np.int64]
    affinity: NDArray[np.float64]

    @classmethod
    def of(
        cls, length: NDArray[np.int64], affinity: NDArray[np.float64], false_match_rate: float
    ) -> Thresholds:
        """Thresholds that a share `false_match_rate` of the chance pairs of each length exceeds.

        Args:
            length: (n_pairs,) features of the shorter of the two, of each chance pair.
            affinity: (n_pairs,) of each chance pair.
            false_match_rate: between 0 and 1.
        """
        if not len(length):
            return cls(np.zeros(1, np.int64), np.ones(1))
        order = np.argsort(length, kind="stable")
        length, affinity = length[order], affinity[order]
        starts = [0]
        # Equal lengths stay together; what is left over at the end joins the last group.
        for start in np.flatnonzero(np.diff(length, prepend=-1)).tolist():
            if start - starts[-1] >= _PAIRS and len(length) - start >= _PAIRS:
                starts.append(start)
        groups = np.split(affinity, starts[1:])
        first = length[starts]
        first[0] = 0
        return cls(first, np.array([np.quantile(group, 1 - false_match_rate) for group in groups]))

    def at(self, length: NDArray[np.int64]) -> NDArray[np.float64]:
        """(n_pairs,) the threshold of pairs whose shorter neuron prefers so many features."""
        return np.asarray(self.affinity[np.searchsorted(self.length, length, side="right") - 1])
