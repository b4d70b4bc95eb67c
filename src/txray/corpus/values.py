"""Single values of tables and lines as the text of labels and ids."""

from __future__ import annotations

import math
import re
from datetime import date, datetime, time
from decimal import Decimal

_WHOLE_FLOAT = re.compile(r"[-+]?[0-9]+\.0+")


class BadValueError(Exception):
    """A value that cannot be used; the caller adds its location."""


def label_text(name: str, value: object) -> str | None:
    """Return a label, or the value of an annotation, as text.

    Whole numbers are written without a fraction, whatever their type, because tables with gaps hold them as floats.

    Args:
        name: of the column or key, for the error.
        value: a string, a number, a truth value, a date or a time; None or not-a-number if it is unknown.

    Returns:
        The text; None if the value is unknown.

    Raises:
        BadValueError: anything else, or an infinite number.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float | Decimal):
        if math.isnan(value):
            return None
        if math.isfinite(value):
            return str(int(value)) if value == int(value) else str(value)
    elif isinstance(value, int | datetime | date | time):
        return str(value)
    raise BadValueError(f"{name!r} is {short(value)}; give a string, a number, or true or false")


def written_label(value: str) -> str | None:
    """Return a label of a table of text, such as CSV, as `label_text` would return a typed one.

    Returns:
        The text without spaces around it, `1` for `1.0`; None for an empty text and for `nan`.
    """
    value = value.strip()
    if value.lower() in ("", "nan"):
        return None
    return value.partition(".")[0] if _WHOLE_FLOAT.fullmatch(value) else value


def id_text(name: str, value: object) -> str:
    """Return an id as text.

    Raises:
        BadValueError: neither a string nor a whole number.
    """
    whole = not isinstance(value, bool) and (
        isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    )
    text = label_text(name, value) if isinstance(value, str) or whole else None
    if text is None:
        raise BadValueError(f"{name!r} is {short(value)}; an id is a string or a whole number")
    return text


def short(value: object, limit: int = 40) -> str:
    """Return a value as it is shown in errors."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
