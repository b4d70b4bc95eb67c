"""Shuffles of features among others of about the same frequency, as a null model."""

from __future__ import annotations

import numpy as np

from txray.arrays import Floats, Ints

STRATUM = 16
"""Number of features of about the same frequency that are shuffled together."""


def exchanged_within_strata(frequency: Ints | Floats, random: np.random.Generator) -> Ints:
    """Return the (n,) feature that replaces each, of about the same frequency, given (n,) numbers of occurrences."""
    order = np.argsort(-frequency, kind="stable")
    exchanged = np.empty(len(order), np.int64)
    for start in range(0, len(order), STRATUM):
        stratum = order[start : start + STRATUM]
        exchanged[stratum] = random.permutation(stratum)
    return exchanged
