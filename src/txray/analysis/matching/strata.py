"""Features exchanged for others of about the same frequency: the null of whatever features may explain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STRATUM = 16
"""Features of about the same frequency that are exchanged for one another."""


def exchanged_within_strata(
    frequency: NDArray[np.int64] | NDArray[np.float64], random: np.random.Generator
) -> NDArray[np.int64]:
    """A permutation of features that exchanges each for one of about the same frequency.

    Args:
        frequency: (n,) how often each occurs.
        random: draws.

    Returns:
        (n,) which feature stands in for each.
    """
    order = np.argsort(-frequency, kind="stable")
    exchanged = np.empty(len(order), np.int64)
    for start in range(0, len(order), STRATUM):
        stratum = order[start : start + STRATUM]
        exchanged[stratum] = random.permutation(stratum)
    return exchanged
