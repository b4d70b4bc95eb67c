from __future__ import annotations

import html
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.hostile import IN_CORPORA
from txray.plots.text import (
    LONGEST_WORD,
    escape,
    escape_word,
    fitted,
    format_number,
    hover_text,
    join_words,
    percent,
    plural,
    sanitize,
    text_width,
    unescape,
    wrapped,
)

ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()), max_size=60)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("great", "great"),
        ("", "(empty)"),
        ("line\nend", "line\\nend"),
        ("null\x00", "null\\x00"),
        ("\u202eevil", "[U+202E]evil"),
        ("\ud800", "[U+D800]"),
        ("a\u00a0b", "a[U+00A0]b"),
        ("אבג", "\u2068אבג\u2069"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("x" * 40, "x" * 40),
        ("x" * 41, "x" * 39 + "…"),
    ],
)
def test_nothing_in_a_word_is_hidden(word: str, expected: str) -> None:
    assert sanitize(word) == expected


@given(ANY_TEXT)
def test_shown_words_are_one_line_of_text_without_markup(word: str) -> None:
    result = escape_word(word)
    assert not set(result) & set("<>$\n\r\t\x00")
    assert html.unescape(result) == sanitize(word) == unescape(result)
    result.encode("utf-8")
    allowed = "\u200c\u200d\u2068\u2069"
    assert all(
        unicodedata.category(character) not in ("Cc", "Cf", "Cs") or character in allowed
        for character in result
    )


def test_a_megabyte_word_is_cut() -> None:
    assert len(sanitize("w" * 1_000_000)) == LONGEST_WORD


def test_an_entity_in_a_word_stays_text() -> None:
    assert escape_word("a&lt;b") == "a&amp;lt;b"


@given(st.lists(st.text(alphabet="abcdefgh", min_size=1, max_size=12), min_size=1, max_size=30))
def test_wrapping_loses_nothing_and_fits(words: list[str]) -> None:
    lines = wrapped(" ".join(words), 120, 12)
    assert " ".join(lines).split(" ") == words
    assert all(text_width(line, 12) <= 120 or " " not in line for line in lines)


def test_hover_breaks_long_lines_and_escapes_every_one() -> None:
    text = hover_text("<h>", join_words(IN_CORPORA), "", "tail")
    assert "<h>" not in text
    assert text.startswith("<b>&lt;h&gt;</b><br>")
    assert all(tag in ("<b>", "</b>", "<br>") for tag in re.findall(r"<[^>]*>", text))
    assert text.endswith("<br>tail")
    assert all(text_width(unescape(line), 12) <= 460 for line in text.split("<br>")[1:])


def test_fitted_text_is_never_wider() -> None:
    assert fitted("word", 100, 12) == "word"
    cut = fitted("m" * 50, 100, 12)
    assert cut.endswith("…")
    assert 80 < text_width(cut, 12) <= 100


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0, "0%"), (0.882, "88%"), (0.0462, "4.6%"), (-0.4253, "-43%"), (0.00004, "0.004%"), (1, "100%")],
)
def test_percent(share: float, expected: str) -> None:
    assert percent(share) == expected


@pytest.mark.parametrize(
    ("number", "expected"), [(1307.42, "1,307"), (0.48123, "0.481"), (97.26, "97.3"), (0.0000421, "4.21e-05")]
)
def test_figure_of(number: float, expected: str) -> None:
    assert format_number(number) == expected


def test_plural() -> None:
    assert (plural(1, "neuron"), plural(1500, "neuron"), plural(0, "neuron")) == (
        "1 neuron",
        "1,500 neurons",
        "0 neurons",
    )


def test_markup_survives_a_round_trip() -> None:
    assert unescape(escape("&lt; <b> $x$ &#36;")) == "&lt; <b> $x$ &#36;"
