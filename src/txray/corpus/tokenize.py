"""From running text to words and sentences, by rules for English."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

_END_MARKS = frozenset(".?!")
_CLOSERS = frozenset((")", "]", "''", "”", "’", "»", ".", "?", "!"))

_LONG_WORD = 250
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# A run without spaces; or a gap, if it is wider than one space or begins the line.
_PIECE = re.compile(r"\S+|^\s+|(?<= )\s+|[^\S ]\s*")
_CLASS = re.compile(r"\\p\{(\w+)\}")


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


class Tokenizer:
    """Splits English text into words and sentences, exactly as spaCy's blank `en` and its sentencizer do.

    Line breaks (as `str.splitlines` sees them) end a sentence. Spaces are never words. Control characters (Unicode Cc,
    with NUL) count as spaces, so no word holds one. A run of more than 250 characters without a space stays one word,
    because the rules need time that grows with the square of its length.

    Use one instance for all passes over a text: it remembers how it split a run of characters.
    """

    def __init__(self, *, max_remembered: int = 250_000) -> None:
        """Start without any memory.

        Args:
            max_remembered: above this many distinct runs the memory is emptied, so that it does not grow with the text.
        """
        self._max_remembered = max_remembered
        self._remembered: dict[str, tuple[str, ...]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for another process, without the memory."""
        return {"_max_remembered": self._max_remembered, "_remembered": {}}

    def __call__(self, text: str) -> Tokens:
        """Return the words of `text`; none if it holds only spaces."""
        words: list[str] = []
        starts: list[int] = []
        ends = _rules().sentence_ends
        for line in text.splitlines():
            if not line or line.isspace():
                continue
            begins, after_end = True, False
            for token in self._tokens(_CONTROL.sub(" ", line)):
                if after_end and token not in ends and not _is_punctuation(token):
                    begins, after_end = True, False
                elif token in ends:
                    after_end = True
                if token:
                    if begins:
                        starts.append(len(words))
                        begins = False
                    words.append(token)
        return Tokens(tuple(words), tuple(starts))

    def _tokens(self, line: str) -> Sequence[str]:
        """Return the words of a line, and an empty string for each wide gap."""
        remembered = self._remembered
        if len(remembered) > self._max_remembered:
            remembered.clear()
        tokens: list[str] = []
        run_of_token: list[int] = []
        for number, run in enumerate(_PIECE.findall(line)):
            words = remembered.get(run)
            if words is None:
                words = remembered[run] = _split(run)
            tokens += words
            run_of_token += [number] * len(words)
        return _with_exceptions(tokens, run_of_token)


def has_words(text: str, *, spaces_only: bool = False) -> bool:
    """Return whether a text has any words, without splitting it.

    Args:
        text: as it would be tokenised.
        spaces_only: it would be split at spaces instead, so that control characters are words unless they are spaces.
    """
    return bool(text.strip()) and (spaces_only or not _CONTROL.sub(" ", text).isspace())


def tokenizer_name() -> str:
    """Return the name of the rules and their version, for fingerprints of tokenised text."""
    return "txray en 1"


@dataclass(frozen=True, slots=True)
class _Rules:
    """The content of `tokenizer_rules.json`.

    Attributes:
        prefix, suffix, infix: the length of what is split off at the beginning and the end of a run (0 for none), and
            the (start, end) of what is split off within.
        is_address: whether a run is a web or mail address, which stays whole.
        exceptions: runs that are split otherwise -> their words.
        split_exceptions: first word -> sequences of words that the other rules would make of exceptions, and the words
            of the exception.
        sentence_ends: words after which a sentence ends.
    """

    prefix: Callable[[str], int]
    suffix: Callable[[str], int]
    infix: Callable[[str], list[tuple[int, int]]]
    is_address: Callable[[str], object]
    exceptions: Mapping[str, tuple[str, ...]]
    split_exceptions: dict[str, list[tuple[tuple[str, ...], tuple[str, ...]]]]
    sentence_ends: frozenset[str]


@cache
def _rules() -> _Rules:
    content = json.loads((files("txray.corpus") / "tokenizer_rules.json").read_text(encoding="utf-8"))

    def pattern(expression: str) -> re.Pattern[str]:
        return re.compile(_CLASS.sub(lambda name: content["classes"][name[1]], expression))

    prefix = pattern("|".join(f"^{expression}" for expression in content["prefixes"])).search
    suffix = pattern("|".join(f"{expression}$" for expression in content["suffixes"])).search
    infix = pattern("|".join(content["infixes"])).finditer
    rules = _Rules(
        prefix=lambda run: len(match[0]) if (match := prefix(run)) else 0,
        suffix=lambda run: len(match[0]) if (match := suffix(run)) else 0,
        infix=lambda run: [match.span() for match in infix(run)],
        is_address=pattern(content["address"]).match,
        exceptions={entry.replace(" ", ""): tuple(entry.split(" ")) for entry in content["exceptions"]},
        split_exceptions=defaultdict(list),
        sentence_ends=frozenset(content["sentence_ends"]),
    )
    for run, words in rules.exceptions.items():
        if rules.prefix(run) or rules.suffix(run) or rules.infix(run):
            parts = tuple(_split_by_affixes(run, rules, {}))
            if len(parts) > 1 or parts != words:
                rules.split_exceptions[parts[0]].append((parts, words))
    return rules


def _split(run: str) -> tuple[str, ...]:
    """Return the words of a run of characters without spaces; an empty one for a gap."""
    if run.isspace():
        return ("",)
    if len(run) > _LONG_WORD:
        return (run,)
    rules = _rules()
    return rules.exceptions.get(run) or tuple(_split_by_affixes(run, rules, rules.exceptions))


def _split_by_affixes(run: str, rules: _Rules, exceptions: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """Remove prefixes and suffixes until none is left, or until an exception remains; then split within."""
    suffixes: list[str] = []
    while run and run not in exceptions:
        prefix = rules.prefix(run)
        if prefix and run[prefix:] in exceptions:
            yield run[:prefix]
            run = run[prefix:]
            break
        suffix = rules.suffix(run[prefix:])
        if suffix and run[:-suffix] in exceptions:
            suffixes.append(run[-suffix:])
            run = run[:-suffix]
            break
        if not prefix and not suffix:
            break
        if prefix:
            yield run[:prefix]
        if suffix:
            suffixes.append(run[len(run) - suffix :])
        run = run[prefix : len(run) - suffix]
    if run in exceptions:
        yield from exceptions[run]
    elif run and rules.is_address(run):
        yield run
    else:
        yield from _split_within(run, rules.infix(run))
    yield from reversed(suffixes)


def _split_within(run: str, infixes: Sequence[tuple[int, int]]) -> Iterator[str]:
    start = 0
    for begin, end in infixes:
        if begin > start:
            yield run[start:begin]
        yield run[begin:end]
        start = end
    if start < len(run):
        yield run[start:]


def _with_exceptions(tokens: list[str], run_of_token: Sequence[int]) -> Sequence[str]:
    """Replace words that result from splitting an exception by the words of the exception.

    Longer sequences come first, then earlier ones. A sequence that is spread over several runs is not replaced, and
    neither are those that overlap with it.
    """
    by_first = _rules().split_exceptions
    matches = [
        (start, parts, words)
        for start, token in enumerate(tokens)
        if token in by_first
        for parts, words in by_first[token]
        if tuple(tokens[start : start + len(parts)]) == parts
    ]
    if not matches:
        return tokens
    matches.sort(key=lambda match: (-len(match[1]), match[0]))
    seen: set[int] = set()
    replacements = {}
    for start, parts, words in matches:
        end = start + len(parts)
        if start not in seen and end - 1 not in seen and run_of_token[start] == run_of_token[end - 1]:
            replacements[start] = (end, words)
        seen.update(range(start, end))
    replaced: list[str] = []
    position = 0
    while position < len(tokens):
        position, words = replacements.get(position, (position + 1, (tokens[position],)))
        replaced += words
    return replaced


def _is_punctuation(token: str) -> bool:
    return 0 < len(token) <= _LONG_WORD and all(unicodedata.category(char).startswith("P") for char in token)
