"""Strings from outside: whether files can hold them, and how to show them safely."""

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


def plural(number: int, noun: str) -> str:
    """Return a number with its noun: `1 neuron`, `1,500 neurons`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def escape_control(text: str) -> str:
    r"""Return the text with its control characters written out, e.g. the escape character as `\x1b`."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )
