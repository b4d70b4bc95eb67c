from __future__ import annotations

import html
import re

import polars as pl
import pytest
from tensorboard import plugin_util

from tests.builders.hostile import IN_MARKDOWN
from txray.plots.text import sanitize
from txray.tracking.loggers.tables import SHOWN_ROWS, html_table, markdown_table, markdown_text, plain_rows


def test_cells_are_what_every_tracker_can_keep(table: pl.DataFrame) -> None:
    rows = plain_rows(table)
    assert [row[0] for row in rows] == list(range(len(IN_MARKDOWN)))
    assert [row[1] for row in rows][:5] == [0.25, None, None, None, 0.5]
    assert [row[2] for row in rows] == list(IN_MARKDOWN)
    assert [row[3] for row in rows][:2] == ["a, b", ""]
    assert [row[4] for row in rows][:3] == [True, False, None]


def test_whatever_else_there_is_becomes_text() -> None:
    dated = pl.DataFrame({"day": ["2020-01-02"], "both": [{"a": 1}]}).with_columns(
        pl.col("day").str.to_date()
    )
    assert plain_rows(dated) == [["2020-01-02", "{'a': 1}"]]


@pytest.mark.parametrize("word", IN_MARKDOWN)
def test_markdown_shows_words_as_they_are(word: str) -> None:
    text = plugin_util.markdown_to_safe_html(f"| {markdown_text(sanitize(word))} | x |\n| --- | --- |\n")
    (cell, _) = re.findall(r"<th>(.*?)</th>", text)
    assert "<" not in cell
    assert html.unescape(cell) == sanitize(word)


def shown_cells(text: str) -> list[list[str]]:
    return [
        [html.unescape(cell) for cell in re.findall(r"<t[dh]>(.*?)</t[dh]>", row)]
        for row in re.findall(r"<tr>(.*?)</tr>", text, re.DOTALL)
    ]


@pytest.mark.parametrize(
    "show", [html_table, lambda table: plugin_util.markdown_to_safe_html(markdown_table(table))]
)
def test_tables_as_text_hold_every_cell(show: object, table: pl.DataFrame) -> None:
    assert callable(show)
    text = show(table)
    assert "<script" not in text
    assert "<a" not in text
    assert "<i" not in text
    titles, *rows = shown_cells(text)
    assert titles == ["neuron", "distance", "word", "near <i>", "kept"]
    assert [row[1] for row in rows[:4]] == ["0.25", "", "nan", "inf"]
    assert [row[2] for row in rows] == [sanitize(word) for word in IN_MARKDOWN]
    assert rows[0][3] == "a, b"
    assert f"{len(IN_MARKDOWN)} rows" in text


@pytest.mark.parametrize("show", [html_table, markdown_table])
def test_a_long_table_is_cut_and_says_so(show: object) -> None:
    assert callable(show)
    text = show(pl.DataFrame({"word": [f"word{n}." for n in range(SHOWN_ROWS + 20)]}))
    assert f"the first {SHOWN_ROWS} of {SHOWN_ROWS + 20} rows" in text
    assert f"word{SHOWN_ROWS - 1}." in text
    assert f"word{SHOWN_ROWS}." not in text


@pytest.mark.parametrize("show", [html_table, markdown_table])
def test_empty_tables_say_that_they_are(show: object) -> None:
    assert callable(show)
    for empty in (pl.DataFrame(), pl.DataFrame({"word": []})):
        assert "0 rows" in show(empty)
