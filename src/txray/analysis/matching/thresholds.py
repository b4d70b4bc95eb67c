"""Thresholds of affinity that chance pairs rarely exceed, by the number of features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from txray.arrays import Floats, Ints

_PAIRS = 200
"""Minimum number of chance pairs per threshold: 5% of them are ten."""


@dataclass(frozen=True, eq=False)
class Thresholds:
    """Affinities that a pair must exceed to be a match.

    Short preferences overlap completely or not at all, even by chance. A single threshold based on them would reject
    all long ones, so each pair is compared with chance pairs of about its own length.

    Attributes:
        length: (n,) ascending: smallest number of features, of the shorter neuron, to which a threshold applies.
        affinity: (n,) the thresholds.
    """

    length: Ints
    affinity: Floats

    @classmethod
    def of(cls, length: Ints, affinity: Floats, false_match_rate: float) -> Thresholds:
        """Return thresholds that a share `false_match_rate` of the chance pairs of each length exceeds.

        Args:
            length: (n_pairs,) number of features of the shorter neuron of each chance pair.
            affinity: (n_pairs,) its affinity.
            false_match_rate: between 0 and 1.
        """
        if not len(length):
            return cls(np.zeros(1, np.int64), np.ones(1))
        order = np.argsort(length, kind="stable")
        length, affinity = length[order], affinity[order]
        starts = [0]
        # Equal lengths stay together; a small remainder joins the last group.
        for start in np.flatnonzero(np.diff(length, prepend=-1)).tolist():
            if start - starts[-1] >= _PAIRS and len(length) - start >= _PAIRS:
                starts.append(start)
        groups = np.split(affinity, starts[1:])
        first = length[starts]
        first[0] = 0
        return cls(first, np.array([np.quantile(group, 1 - false_match_rate) for group in groups]))

    def at(self, length: Ints) -> Floats:
        """Return (n_pairs,) thresholds of pairs by the number of features of the shorter neuron."""
        return np.asarray(self.affinity[np.searchsorted(self.length, length, side="right") - 1])
