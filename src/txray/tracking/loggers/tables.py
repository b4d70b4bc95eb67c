"""Tables for loggers: cells that every logger can store, and tables as text for loggers without tables.

Cells hold words of a corpus, so Markdown and HTML in them are escaped.
"""

from __future__ import annotations

import html
import math
import re
from typing import Any

import polars as pl

from txray.plots.text import sanitize

SHOWN_ROWS = 100
"""Rows of a table shown as text; the text gives the total."""

_MAX_CELL = 200
"""Characters shown of a cell: some words, a path."""

_PUNCTUATION = re.compile(r"[!-$&-*<>@\[-`{-~]")
"""Characters that can begin Markdown or HTML markup, except those of numbers and ordinary text."""


def plain_rows(table: pl.DataFrame) -> list[list[Any]]:
    """Return all rows; each cell is None, a boolean, a finite number or a string.

    Args:
        table: a table of any columns.

    Returns:
        Row by row, in the order of the columns. Numbers that are not finite become None; lists (joined by commas),
        dates and other values become strings.
    """
    return [[_plain(cell) for cell in row] for row in table.iter_rows()]


def markdown_table(table: pl.DataFrame) -> str:
    """Return the first `SHOWN_ROWS` rows as a Markdown table, with the total number of rows.

    Args:
        table: a table of any columns; markup in cells is escaped.
    """
    lines = [f"{_count(table)}"]
    if table.width:
        titles = [markdown_text(sanitize(name)) for name in table.columns]
        lines += ["", _line(titles), _line(["---"] * table.width)]
        lines += [_line([markdown_text(cell) for cell in row]) for row in _shown(table)]
    return "\n".join(lines)


def markdown_text(text: str) -> str:
    """Return a text with Markdown and HTML escaped.

    Entities instead of backslashes: they also work within tables and HTML, in every dialect.
    """
    return _PUNCTUATION.sub(lambda match: f"&#{ord(match[0])};", text)


def html_table(table: pl.DataFrame) -> str:
    """Return the first `SHOWN_ROWS` rows as an HTML table, with the total number of rows.

    Args:
        table: a table of any columns; markup in cells is escaped.
    """
    titles = "".join(f"<th>{html.escape(sanitize(name))}</th>" for name in table.columns)
    rows = "".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in _shown(table)
    )
    return f"<p>{_count(table)}</p><table><tr>{titles}</tr>{rows}</table>"


def _count(table: pl.DataFrame) -> str:
    shown = f"the first {SHOWN_ROWS} of " if table.height > SHOWN_ROWS else ""
    return f"{shown}{table.height} row{'' if table.height == 1 else 's'}"


def _shown(table: pl.DataFrame) -> list[list[str]]:
    """Return cells as short one-line strings; None is empty."""
    return [
        ["" if cell is None else _short(cell) for cell in row] for row in table.head(SHOWN_ROWS).iter_rows()
    ]


def _short(cell: Any) -> str:
    return f"{cell:.4g}" if isinstance(cell, float) else sanitize(_text(cell), _MAX_CELL)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(cell: Any) -> Any:
    if isinstance(cell, float):
        return cell if math.isfinite(cell) else None
    return cell if cell is None or isinstance(cell, bool | int) else _text(cell)


def _text(cell: Any) -> str:
    return ", ".join(map(str, cell)) if isinstance(cell, list) else str(cell)
