"""From running text to words and sentences, by rules for English."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from txray.corpus.english import split_run

_END_MARKS = frozenset(".?!")
_ELLIPSES = frozenset(("..", "...", "....", "…"))
_CLOSERS = frozenset((")", "]", "''", "”", "’", "»", ".", "?", "!"))
_QUOTES = frozenset(("''", "”", "’", "»", '"', "'"))
_CLOSERS_IN_RUN = _CLOSERS | _QUOTES  # without a space before it, a straight quote closes
_GO_ON = frozenset(",;:")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_MAX_REMEMBERED_RUN = 100  # characters; longer runs are rarely repeated


class Tokens(NamedTuple):
    """The words of a text, and the positions at which a sentence starts: empty, or ascending from 0."""

    words: tuple[str, ...]
    sentence_starts: tuple[int, ...]


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
    """

    words: tuple[str, ...]
    starts: tuple[int, ...]
    ends: str | None
    begins: str


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
        remembered = self._remembered
        for line in text.splitlines():
            first, ends = True, "."
            for characters in _CONTROL.sub(" ", line).split():
                run = remembered.get(characters) or self._split(characters)
                if first or (ends and run.begins != ")" and (ends == "." or run.begins != "a")):
                    starts.append(len(words))
                    first, ends = False, ""
                if run.starts:
                    starts += [len(words) + start for start in run.starts]
                if run.ends is not None:
                    ends = run.ends
                words += run.words
        return Tokens(tuple(words), tuple(starts))

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
    return bool(text.strip()) and (spaces_only or not _CONTROL.sub(" ", text).isspace())


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
    return _Run(words, tuple(starts), ends, begins)
