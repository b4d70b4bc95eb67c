"""Tables for trackers: cells that every tracker can keep, and tables as text where it has none.

What stands in a cell is text of a corpus: it is shown as it is, whatever Markdown or HTML makes of it.
"""

from __future__ import annotations

import html
import math
import re
from typing import Any

import polars as pl

from txray.plots.text import sanitize

SHOWN_ROWS = 100
"""Rows of a table that is shown as text; the text says how many there are."""

_LONGEST_CELL = 200
"""Characters of a cell that are shown: some words, a path."""

_PUNCTUATION = re.compile(r"[!-$&-*<>@\[-`{-~]")
"""What can begin markup of Markdown or HTML; not what numbers and ordinary text need."""


def plain_rows(table: pl.DataFrame) -> list[list[Any]]:
    """All rows, each cell null, true or false, a finite number, or a text.

    Args:
        table: any.

    Returns:
        Row by row, in the order of the columns. Numbers that are not finite are null; lists (with
        commas), dates and whatever else there is are texts.
    """
    return [[_plain(cell) for cell in row] for row in table.iter_rows()]


def markdown_table(table: pl.DataFrame) -> str:
    """The first `SHOWN_ROWS` rows as a table of Markdown, and how many there are.

    Args:
        table: any; words that are markup are shown as text.
    """
    lines = [f"{_count(table)}"]
    if table.width:
        titles = [markdown_text(sanitize(name)) for name in table.columns]
        lines += ["", _line(titles), _line(["---"] * table.width)]
        lines += [_line([markdown_text(cell) for cell in row]) for row in _shown(table)]
    return "\n".join(lines)


def markdown_text(text: str) -> str:
    """A text that Markdown shows as it is.

    Entities rather than backslashes: they also hold within tables and HTML, in every dialect.
    """
    return _PUNCTUATION.sub(lambda found: f"&#{ord(found[0])};", text)


def html_table(table: pl.DataFrame) -> str:
    """The first `SHOWN_ROWS` rows as a table of HTML, and how many there are.

    Args:
        table: any; words that are markup are shown as text.
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
    """Cells as texts of one short line each; what is null is an empty text."""
    return [
        ["" if cell is None else _short(cell) for cell in row] for row in table.head(SHOWN_ROWS).iter_rows()
    ]


def _short(cell: Any) -> str:
    return f"{cell:.4g}" if isinstance(cell, float) else sanitize(_text(cell), _LONGEST_CELL)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(cell: Any) -> Any:
    if isinstance(cell, float):
        return cell if math.isfinite(cell) else None
    return cell if cell is None or isinstance(cell, bool | int) else _text(cell)


def _text(cell: Any) -> str:
    return ", ".join(map(str, cell)) if isinstance(cell, list) else str(cell)
