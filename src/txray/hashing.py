"""The finalizer of SplitMix64 for NumPy arrays and torch tensors: random bits that depend on the key alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

GOLDEN_GAMMA = 0x9E3779B97F4A7C15
"""Step of SplitMix64 from one state to the next: 2^64 divided by the golden ratio, made odd."""
FIRST_FACTOR = 0xBF58476D1CE4E5B9
SECOND_FACTOR = 0x94D049BB133111EB


def splitmix64(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the hash of each key.

    Args:
        keys: uint64, of any shape.

    Source:
        Steele, Lea and Flood 2014, Fast splittable pseudorandom number generators.
    """
    with np.errstate(over="ignore"):
        keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(FIRST_FACTOR)
        keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(SECOND_FACTOR)
    return keys ^ (keys >> np.uint64(31))


def splitmix64_tensor(keys: Tensor) -> Tensor:
    """Return the hash of each key: the bits of `splitmix64`, as torch has few operations on unsigned integers.

    Args:
        keys: int64, of any shape, on any device.
    """
    # torch's right shift keeps the sign, so the upper bits are masked off; products wrap around.
    keys = (keys ^ ((keys >> 30) & ((1 << 34) - 1))) * as_signed(FIRST_FACTOR)
    keys = (keys ^ ((keys >> 27) & ((1 << 37) - 1))) * as_signed(SECOND_FACTOR)
    return keys ^ ((keys >> 31) & ((1 << 33) - 1))


def as_signed(number: int) -> int:
    """Return the int64 with the bits of a uint64."""
    return number - (1 << 64) if number >> 63 else number
