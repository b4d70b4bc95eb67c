"""From running text to words and sentences, by rules for English."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple

from txray.corpus.document import SPACES
from txray.corpus.english import split_run

_END_MARKS = frozenset(".?!")
_ELLIPSES = frozenset(("..", "...", "....", "…"))
_CLOSERS = frozenset((")", "]", "''", "”", "’", "»", ".", "?", "!"))
_QUOTES = frozenset(("''", "”", "’", "»", '"', "'"))
_CLOSERS_IN_RUN = _CLOSERS | _QUOTES  # without a space before it, a straight quote closes
_GO_ON = frozenset(",;:")
_GAP = re.compile(f"([{SPACES}]+)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_MAX_REMEMBERED_RUN = 100  # characters; longer runs are rarely repeated


class Tokens(NamedTuple):
    """The words of a text.

    Attributes:
        words: (n_words,) as written.
        sentence_starts: positions at which a sentence starts: empty, or ascending from 0.
        spacing: (n_words,) white space and control characters before each word; None if they are not known.
    """

    words: tuple[str, ...]
    sentence_starts: tuple[int, ...]
    spacing: tuple[str, ...] | None = None


def sentence_starts(words: Sequence[str]) -> tuple[int, ...]:
    """Return the sentence starts of text that is already split into words.

    A sentence starts after `.`, `?` or `!` standing alone, and after the end marks and the closing brackets and
    quotes that follow it. A straight `"` may open or close a quote; it is assumed to open one.

    Args:
        words: (n_words,), at least one.

    Returns:
        Ascending positions, the first is 0.
    """
    starts = [0]
    ends = [position for position, word in enumerate(words, 1) if word in _END_MARKS]
    for start in ends:
        while start < len(words) and words[start] in _CLOSERS:
            start += 1
        if starts[-1] < start < len(words):
            starts.append(start)
    return tuple(starts)


class _Run(NamedTuple):
    """The words of a run of characters without a space, and what it means for the sentences around it.

    Attributes:
        starts: positions in `words`, without 0, at which a sentence starts.
        ends: `.` if the run ends a sentence, `…` if it does so unless a small letter follows, an empty string if not;
            None if it consists of closing marks or an emoticon, so that it ends as the run before it.
        begins: `)` if the run continues what the run before it ended, `a` if it begins with a small letter, else empty.
        gaps: (n_words,) white space before each word, if a space is before the run.
    """

    words: tuple[str, ...]
    starts: tuple[int, ...]
    ends: str | None
    begins: str
    gaps: tuple[str, ...]


_gaps_of = attrgetter("gaps")


class Tokenizer:
    """Tokenizer that splits English text into words and sentences.

    The words of a text, joined, are its characters without white space. A sentence ends with `.`, `?` or `!` and the
    closing quotes and brackets after it, and with a line (as `str.splitlines` sees them). Control characters (Unicode
    Cc, with NUL) count as spaces, so no word holds one. The time grows linearly with the text, whatever it holds.

    Use one instance for all passes over a text: it remembers how it split a run of characters.
    """

    def __init__(self, *, max_remembered: int = 250_000) -> None:
        """Start without any memory.

        Args:
            max_remembered: above this many distinct runs the memory is emptied, so that it does not grow with the text.
        """
        self._max_remembered = max_remembered
        self._remembered: dict[str, _Run] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for another process, without the memory."""
        return {"_max_remembered": self._max_remembered, "_remembered": {}}

    def __call__(self, text: str) -> Tokens:
        """Return the words of `text`; none if it holds only spaces."""
        words: list[str] = []
        starts: list[int] = []
        text_runs: list[_Run] = []
        other_gaps: list[tuple[int, str]] = []  # where not a space is before a run
        remembered = self._remembered
        gap = ""  # before the line: the ends of the lines above, and blank lines
        for line in text.splitlines(keepends=True):
            plain = _CONTROL.sub(" ", line)
            characters = plain.split()
            if not characters:
                gap += line
                continue
            first, ends, n_before = True, ".", len(words)
            line_runs = [remembered.get(run) or self._split(run) for run in characters]
            for run in line_runs:
                if first or (ends and run.begins != ")" and (ends == "." or run.begins != "a")):
                    starts.append(len(words))
                    first, ends = False, ""
                if run.starts:
                    starts += [len(words) + start for start in run.starts]
                if run.ends is not None:
                    ends = run.ends
                words += run.words
            text_runs += line_runs
            joined = " ".join(characters)
            if line.startswith(joined):  # single spaces, as nearly always
                other_gaps.append((n_before, gap))
                gap = line[len(joined) :]
                continue
            for run, (between, _) in zip(line_runs, runs(line, _GAP), strict=True):
                other_gaps.append((n_before, gap + between))
                n_before += len(run.words)
                gap = ""
            gap = line[len(plain.rstrip()) :]
        spacing = list(chain.from_iterable(map(_gaps_of, text_runs)))
        for position, gap in other_gaps:
            spacing[position] = gap
        return Tokens(tuple(words), tuple(starts), tuple(spacing))

    def _split(self, characters: str) -> _Run:
        """Split a run that is not remembered, and remember it unless it is long."""
        run = _split(characters)
        if len(self._remembered) > self._max_remembered:
            self._remembered.clear()
        if len(characters) <= _MAX_REMEMBERED_RUN:
            self._remembered[characters] = run
        return run


def has_words(text: str, *, spaces_only: bool = False) -> bool:
    """Return whether a text has any words, without splitting it.

    Args:
        text: as it would be tokenised.
        spaces_only: it would be split at spaces instead, so that control characters are words unless they are spaces.
    """
    return bool(text.strip()) and (spaces_only or _GAP.fullmatch(text) is None)


def tokenizer_name() -> str:
    """Return the name of the rules and their version, for fingerprints of tokenised text."""
    return "txray en 2"


def _split(characters: str) -> _Run:
    words = split_run(characters)
    starts: list[int] = []
    ends: str | None = None
    for position, word in enumerate(words):
        if word in _END_MARKS:
            is_list_number = position == 1 and words[0].isdigit() and len(words[0]) < 3  # "1. First"
            ends = "" if is_list_number else "."
        elif word in _ELLIPSES:
            ends = "…"
        elif ends and word in _CLOSERS_IN_RUN:
            ends = "…" if word in _QUOTES else ends  # "No!" he said.
        elif word not in _CLOSERS and not (len(word) > 1 and word[0] in _GO_ON):  # nor an emoticon
            if ends and word not in _GO_ON and (ends == "." or not word[0].islower()):
                starts.append(position)
            ends = ""
    first = words[0][0]
    begins = ")" if first in _CLOSERS or first in _GO_ON else "a" if first.islower() else ""
    return _Run(words, tuple(starts), ends, begins, (" ", *("" for _ in words[1:])))


def runs(text: str, gap: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """Return pairs of a gap, empty if the text begins without one, and the run of characters after it.

    Args:
        text: any text.
        gap: pattern of what separates runs, in one group.
    """
    parts = gap.split(text)  # a run, a gap, a run, ...; the first and the last run may be empty
    if not parts[-1]:
        del parts[-2:]
    if parts and parts[0]:
        parts.insert(0, "")
    elif parts:
        del parts[0]
    return zip(parts[::2], parts[1::2], strict=True)
