"""Text of a corpus and of users, made safe to show in a figure, and its width in pixels.

Plotly reads a subset of HTML, entities, and between two dollar signs TeX. Text is therefore composed
plain: words go through `sanitize`, and every string that enters a figure goes through `escape` (or `escape_word`,
which is both).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from txray.text import plural as plural

LONGEST_WORD = 40
"""Characters of a word that are shown; the rest is cut off with an ellipsis."""

HOVER_WIDTH, HOVER_SIZE = 460, 12
"""Pixels of a line of hover text, and its font size."""

_ORDINARY = re.compile(r"[!-~]{1,40}")
_ENTITIES = {"<": "&lt;", ">": "&gt;", "$": "&#36;", "&": "&amp;"}
_MARKUP = str.maketrans(_ENTITIES)
_FORMAT_CHARACTERS_OF_SCRIPTS = "\u200c\u200d"
"""Joiners: Persian, Indic scripts and emoji need them."""

# Widths of ASCII 32 to 126, thousandths of the font size: for each character the wider of Helvetica (Arial
# and Liberation Sans have the same metrics) and DejaVu Sans, which Linux shows where it has none of those.
# Where a figure will be looked at is not known when it is laid out, so it must fit in either.
_WIDTHS = (
    318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337,
    636, 636, 636, 636, 636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 556,
    1015, 684, 686, 722, 770, 667, 611, 778, 752, 295, 500, 667, 557, 863, 748, 787,
    667, 787, 722, 667, 611, 732, 684, 989, 685, 667, 685, 390, 337, 390, 838, 556,
    500, 613, 635, 550, 635, 615, 352, 635, 634, 278, 278, 579, 278, 974, 634, 612,
    635, 635, 411, 521, 392, 634, 592, 818, 592, 592, 525, 636, 337, 636, 838,
)  # fmt: skip
_WIDTH_ELSEWHERE = 700
_WIDTH_FULL = 1000
_BOLD = 1.13


def sanitize(word: str, longest: int = LONGEST_WORD) -> str:
    """Return a word as one short line of plain text in which nothing is hidden.

    Control characters, line ends, unpaired surrogates and characters that reorder text become visible
    signs; words of more than `longest` characters end in an ellipsis; words of a right-to-left script
    are isolated so that they do not reorder their neighbours; the empty word reads `(empty)`.

    Args:
        word: any text. Not markup yet: see `escape`.
        longest: characters, at least as many as `LONGEST_WORD`.
    """
    if _ORDINARY.fullmatch(word):
        return word
    if not word:
        return "(empty)"
    if len(word) > longest:
        word = word[: longest - 1] + "…"
    plain = "".join(_visible_character(character) for character in word)
    if any(unicodedata.bidirectional(character) in ("R", "AL", "AN") for character in plain):
        return f"\u2068{plain}\u2069"
    return plain


def _visible_character(character: str) -> str:
    if character == " " or character in _FORMAT_CHARACTERS_OF_SCRIPTS:
        return character
    if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"):
        return character
    code = ord(character)
    # Spelled out in ASCII, because hardly any font has signs for control characters.
    return character.encode("unicode_escape").decode("ascii") if code < 0x80 else f"[U+{code:04X}]"


def escape(text: str) -> str:
    """Return plain text as plotly must receive it: markup, entities and TeX are escaped."""
    return text.translate(_MARKUP)


def unescape(text: str) -> str:
    """Return the plain text of escaped text."""
    for character, entity in _ENTITIES.items():
        text = text.replace(entity, character)
    return text


def escape_word(word: str) -> str:
    """Return a word of a corpus, or a name given by a user, sanitized and escaped."""
    return escape(sanitize(word))


def join_words(words: Iterable[str]) -> str:
    """Return several words as one line of plain text, separated by commas."""
    return ", ".join(sanitize(word) for word in words)


def hover_text(head: str, *lines: str) -> str:
    """Return hover text: a bold head and the lines, all given as plain text, wrapped to fit a screen.

    Empty lines are omitted.
    """
    parts = [part for line in lines if line for part in wrapped(line, HOVER_WIDTH, HOVER_SIZE)]
    return "<br>".join((f"<b>{escape(head)}</b>", *map(escape, parts)))


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Return the largest width in pixels of one line of plain text in the fonts of the theme."""
    thousandths = sum(map(_character_width, text))
    return thousandths / 1000 * size * (_BOLD if bold else 1)


def _character_width(character: str) -> int:
    code = ord(character)
    if 32 <= code < 127:
        return _WIDTHS[code - 32]
    if unicodedata.combining(character) or unicodedata.category(character) == "Cf":
        return 0
    return _WIDTH_FULL if unicodedata.east_asian_width(character) in "WF" else _WIDTH_ELSEWHERE


def wrapped(text: str, width: float, size: float, *, bold: bool = False) -> list[str]:
    """Return plain text wrapped at spaces into lines of at most `width` pixels; a longer word gets its own line."""
    return filled_lines(text.split(" "), width, size, bold=bold)


def filled_lines(words: Iterable[str], width: float, size: float, *, bold: bool = False) -> list[str]:
    """Return words, which are not broken, joined by spaces into lines of at most `width` pixels."""
    lines: list[str] = []
    for word in words:
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(joined, size, bold=bold) <= width:
            lines[-1] = joined
        else:
            lines.append(word)
    return lines


def fitted(text: str, width: float, size: float) -> str:
    """Return one line of plain text, truncated with an ellipsis if it is wider than `width` pixels."""
    if text_width(text, size) <= width:
        return text
    while len(text) > 1 and text_width(f"{text}…", size) > width:
        text = text[:-1]
    return f"{text}…"


def count(number: int) -> str:
    """Return a whole number with a comma every three digits."""
    return f"{number:,}"


def percent(share: float) -> str:
    """Return a share in percent: `45%`, `4.6%`, `0.004%`; never `0%` for more than nothing."""
    value = 100 * share
    if value == 0:
        return "0%"
    decimals = 0 if abs(value) >= 10 else 1 if abs(value) >= 1 else 2
    text = f"{value:.{decimals}f}"
    return f"{text if float(text) else f'{value:.1g}'}%"


def format_number(number: float) -> str:
    """Return a number with three significant digits or all digits before the point: `1,307`, `0.0421`."""
    if abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.3g}"


def signed(number: float) -> str:
    """Return a difference with its sign and two decimals: `+2.21`, `−0.40`."""
    return f"{number:+.2f}".replace("-", "\u2212")
