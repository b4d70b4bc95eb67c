"""Type checks for numeric arguments: booleans are rejected, NumPy scalars accepted."""

from __future__ import annotations

from numbers import Integral, Real


def is_integer(value: object) -> bool:
    """Return whether a value is an integer."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Return whether a value is a real number; infinity and NaN count as numbers."""
    return isinstance(value, Real) and not isinstance(value, bool)
