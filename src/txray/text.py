"""Checks of strings that files and tables must be able to hold."""

from __future__ import annotations


def is_text(value: object) -> bool:
    """Return whether a value is a string that UTF-8 can encode, which half of a surrogate pair cannot be."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
