"""Statistical power: the size of a change that the tests would detect, before anything is collected."""

from __future__ import annotations

import numpy as np

from txray.arrays import Floats

DETECTABLE_AT_ONE_WIN = {6: 6.0, 8: 4.8, 16: 4.0, 32: 3.9}
"""Folds with documents -> distance times the root of the wins at which half of the neurons are significant.

Measured by `python -m benchmarks.evidence.power`, for 20 to 1,000 wins.
"""

EXCESS = 1.8
"""Squared distance beyond that of a minimum effect at which half of the neurons are significant, over the squared
distance that is detectable without a minimum; measured by `python -m benchmarks.evidence.effects`."""


def detectable_distance(wins: float, folds: int, *, limit: float = 1.0) -> float | None:
    """Return the corrected Hellinger distance at which half of the neurons are significant at 5% FDR.

    The distance shrinks with the root of the wins. It is an estimate for planning: simulated neurons respond to 10 to
    200 words, all change by the same distance, both stages read the same documents, and the weight is `mean`. Real
    layers needed up to twice the distance (docs/concepts.md).

    >>> round(detectable_distance(100, folds=16), 2)
    0.4
    >>> detectable_distance(10, folds=16) is None
    True

    Args:
        wins: selected activations of a neuron in each stage.
        folds: number of folds with documents; see `folds_in_use`.
        limit: largest distance to return.

    Returns:
        In (0, limit]; None if not even a complete change would be detected: too few wins, or too few folds.
    """
    known = sorted(DETECTABLE_AT_ONE_WIN)
    if wins <= 0 or folds < known[0]:
        return None
    factor = np.interp(-1 / folds, [-1 / n for n in known], [DETECTABLE_AT_ONE_WIN[n] for n in known])
    distance = float(factor / np.sqrt(wins))
    return distance if distance <= limit else None


def detectable_distances(wins: Floats, folds: int, min_effect: float = 0.0) -> Floats:
    """Return (n_neurons,) `detectable_distance` of each neuron; NaN where not even a complete change would be detected.

    Args:
        wins: (n_neurons,) selected activations in each stage.
        folds: number of folds with documents.
        min_effect: distance that a change must exceed for sure; then larger changes are needed.
    """
    at_one_win = detectable_distance(1.0, folds, limit=np.inf)
    if at_one_win is None:
        return np.full(len(wins), np.nan)
    with np.errstate(divide="ignore"):
        distance = at_one_win / np.sqrt(np.asarray(wins, np.float64))
    if min_effect:
        distance = np.sqrt(min_effect**2 + EXCESS * distance**2)
    return np.where(distance <= 1, distance, np.nan)


def folds_in_use(folds: int, documents: int) -> int:
    """Return the expected number of folds that get at least one of these independent documents, rounded down.

    >>> folds_in_use(16, 8)
    6
    """
    return int(folds * (1 - (1 - 1 / folds) ** documents)) if documents < 1_000 * folds else folds
