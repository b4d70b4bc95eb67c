"""Text from a corpus, made safe to show on a terminal."""

from __future__ import annotations


def escape_control(text: str) -> str:
    r"""Return the text with its control characters written out, e.g. the escape character as `\x1b`."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )
