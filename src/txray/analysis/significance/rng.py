"""Seeded random generators, one per part of a statistic, so that the parts do not depend on each other."""

from __future__ import annotations

from typing import Literal

import numpy as np

_PARTS = ("draws", "permutations", "splits", "rates")


def generator_for(
    seed: int, part: Literal["draws", "permutations", "splits", "rates"]
) -> np.random.Generator:
    """Return the random generator of one part.

    Args:
        seed: random seed, common to all parts.
        part: name of the part.
    """
    return np.random.default_rng([seed, _PARTS.index(part)])
