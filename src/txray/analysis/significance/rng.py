"""Random numbers of their own for each part of a statistic, so that no part depends on which others were computed."""

from __future__ import annotations

from typing import Literal

import numpy as np

_PARTS = ("draws", "permutations", "splits", "rates")


def stream(seed: int, part: Literal["draws", "permutations", "splits", "rates"]) -> np.random.Generator:
    """The random numbers of one part.

    Args:
        seed: of all parts.
        part: which.
    """
    return np.random.default_rng([seed, _PARTS.index(part)])
