"""What kind of number an argument is: True and False are none, numbers of numpy are."""

from __future__ import annotations

from numbers import Integral, Real


def is_whole(value: object) -> bool:
    """Whether it is a whole number."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether it is a real number, whole or not; infinity and NaN too."""
    return isinstance(value, Real) and not isinstance(value, bool)
