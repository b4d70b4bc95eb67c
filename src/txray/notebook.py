"""HTML of results in notebooks: a heading, sentences and small tables, in the notebook's own colours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from txray.checks import is_number
from txray.text import escape_control

_CELL = "padding:.2em .8em;border:0;border-bottom:1px solid rgba(128,128,128,.35);white-space:nowrap"
_MAX_LENGTH = 80
"""Maximum number of characters in a cell; a longer text ends in an ellipsis."""

Row = Sequence[object]


def card(title: str, sentences: Iterable[str], *tables: str) -> str:
    """Return the HTML of one result.

    Args:
        title: plain text.
        sentences: plain text.
        tables: HTML, of `table`.
    """
    description = " ".join(escape(escape_control(sentence)) for sentence in sentences)
    return (
        f'<div class="txray" style="line-height:1.5"><b>{escape(escape_control(title))}</b>'
        f"{f'<div>{description}</div>' if description else ''}{''.join(tables)}</div>"
    )


def table(caption: str, headings: Sequence[str], rows: Iterable[Row]) -> str:
    """Return the HTML of a small table; numbers are aligned right, and missing values are dashes."""
    listed = [list(row) for row in rows]
    right = [
        any(is_number(row[i]) for row in listed)
        and all(row[i] is None or is_number(row[i]) for row in listed)
        for i in range(len(headings))
    ]
    aligned = [f"{_CELL};text-align:{'right' if is_right else 'left'}" for is_right in right]
    head = "".join(
        f'<th scope="col" style="{style}">{escape(escape_control(name))}</th>'
        for name, style in zip(headings, aligned, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td style="{style}"><bdi>{escape(_shown(value))}</bdi></td>'
            for value, style in zip(row, aligned, strict=True)
        )
        + "</tr>"
        for row in listed
    )
    return (
        '<div style="overflow-x:auto"><table style="border-collapse:collapse;margin:.6em 0;font-size:90%">'
        f'<caption style="text-align:left;opacity:.8">{escape(escape_control(caption))}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _shown(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e5 else f"{value:,.0f}"
    text = (
        f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else escape_control(str(value))
    )
    return text if len(text) <= _MAX_LENGTH else f"{text[: _MAX_LENGTH - 1]}…"
