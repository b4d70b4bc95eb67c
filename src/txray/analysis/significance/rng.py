"""Seeded random generators, one per part of a statistic, so that the parts do not depend on each other."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

Part = Literal["draws", "permutations", "splits", "rates", "texts", "controls", "interaction"]


def generator_for(seed: int, part: Part) -> np.random.Generator:
    """Return the random generator of one part."""
    return np.random.default_rng([seed, get_args(Part).index(part)])
