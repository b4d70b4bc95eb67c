"""Text of a corpus where it may not steer how the rest is shown."""

from __future__ import annotations


def printable(text: str) -> str:
    """Text in which control characters are spelled out."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )
