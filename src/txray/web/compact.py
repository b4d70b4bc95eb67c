"""Numbers and text of the pages' data, made small and safe."""

from __future__ import annotations

from math import isfinite

from txray.plots.text import sanitize


def rounded(value: float | None, digits: int = 4) -> float | None:
    """Return a number with some significant digits; None where there is no finite number."""
    return None if value is None or not isfinite(value) else float(f"{value:.{digits}g}")


def sanitized_words(text: str | None) -> str | None:
    """Return words joined by spaces, each sanitized; an empty text stays empty."""
    return " ".join(map(sanitize, text.split(" "))) if text else text
