"""Drawing text from a compiled grammar: the kinds of nodes, and the state of one document.

Every node writes words and their tags into a `Draw`. This is the inner loop of the corpus, so nodes are
small objects with one method, and all names are resolved before the first word is drawn.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from txray.corpus.demo.inflection import takes_an
from txray.corpus.demo.lexicon import Phrase

# A word that already stands in the sentence is drawn again this often before it is accepted.
_ATTEMPTS = 8
_NUMBER_WORDS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


class Draw:
    """The state of one document while it is drawn.

    Attributes:
        random: the document's own source of randomness, in [0, 1).
        words, tags: of the sentence being drawn, aligned.
        used: lemmas that the sentence should not use again.
        facts: what the document keeps throughout (its names, places, pronouns), in order of definition.
        year: the clock of the document, which events move forward.
    """

    __slots__ = ("_kept", "facts", "random", "tags", "used", "words", "year")

    def __init__(self, random: Callable[[], float], year: int) -> None:
        self.random = random
        self.year = year
        self.facts: list[Phrase] = []
        self.words: list[str] = []
        self.tags: list[str] = []
        self.used: set[str] = set()
        self._kept: set[str] = set()

    def fix(self, alternatives: tuple[tuple[Node, ...], ...]) -> None:
        """Draw facts that hold for the whole document, one per node of one of the alternatives."""
        for node in alternatives[int(len(alternatives) * self.random())]:
            self.words, self.tags = [], []
            node.write(self)
            self.facts.append(Phrase(tuple(self.words), tuple(self.tags)))
            self.used.add(" ".join(self.words).lower())
        self._kept = self.used

    def sentence(self, node: Node) -> tuple[list[str], list[str]]:
        """Draw one sentence: (words, tags), with its articles and its first capital set right."""
        self.words, self.tags, self.used = [], [], self._kept.copy()
        node.write(self)
        words = self.words
        position = -1
        for _ in range(words.count("a")):
            position = words.index("a", position + 1)
            if _takes_an(words[position + 1]):
                words[position] = "an"
        first = words[0]
        if first[0].islower():
            words[0] = first[0].upper() + first[1:]
        return words, self.tags


class Node(Protocol):
    """A part of a sentence."""

    def write(self, draw: Draw) -> None:
        """Append words and tags."""


@dataclass(frozen=True, slots=True)
class Literal:
    """Words as the grammar has them."""

    phrase: Phrase

    def write(self, draw: Draw) -> None:
        """Append the words."""
        draw.words.extend(self.phrase.words)
        draw.tags.extend(self.phrase.tags)


@dataclass(frozen=True, slots=True)
class Sequence:
    """Parts one after the other."""

    parts: tuple[Node, ...]

    def write(self, draw: Draw) -> None:
        """Append all parts."""
        for part in self.parts:
            part.write(draw)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several parts; `cumulative` are their summed probabilities."""

    cumulative: tuple[float, ...]
    parts: tuple[Node, ...]

    def write(self, draw: Draw) -> None:
        """Append one part."""
        self.parts[bisect(self.cumulative, draw.random())].write(draw)


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a class in one of its forms; `lemmas` tell which words are the same."""

    cumulative: tuple[float, ...]
    lemmas: tuple[str, ...]
    phrases: tuple[Phrase, ...]

    def write(self, draw: Draw) -> None:
        """Append a word that the sentence, and the facts of the document, do not hold yet."""
        for _ in range(_ATTEMPTS):
            index = bisect(self.cumulative, draw.random())
            if self.lemmas[index] not in draw.used:
                break
        draw.used.add(self.lemmas[index])
        words, tags = self.phrases[index]
        draw.words.extend(words)
        draw.tags.extend(tags)


@dataclass(frozen=True, slots=True)
class Fact:
    """What the document fixed at its start."""

    index: int

    def write(self, draw: Draw) -> None:
        """Append the fact."""
        words, tags = draw.facts[self.index]
        draw.words.extend(words)
        draw.tags.extend(tags)


@dataclass(frozen=True, slots=True)
class Number:
    """A number between two bounds, in steps, written with `decimals` digits after the point."""

    low: float
    step: float
    steps: int
    decimals: int

    def write(self, draw: Draw) -> None:
        """Append the number, small ones being more frequent than large ones."""
        share = draw.random()
        value = self.low + self.step * int(self.steps * share * share)
        draw.words.append(f"{value:,.{self.decimals}f}")
        draw.tags.append("CD")


@dataclass(frozen=True, slots=True)
class Year:
    """The year of the document's clock, after it has moved forward by `low` to `high` years."""

    low: int = 0
    high: int = 0

    def write(self, draw: Draw) -> None:
        """Move the clock and append its year."""
        draw.year += _between(self.low, self.high, draw)
        draw.words.append(str(draw.year))
        draw.tags.append("CD")


@dataclass(frozen=True, slots=True)
class YearAhead:
    """A year that lies `low` to `high` years ahead of the clock, which stays where it is."""

    low: int
    high: int

    def write(self, draw: Draw) -> None:
        """Append the year."""
        draw.words.append(str(draw.year + _between(self.low, self.high, draw)))
        draw.tags.append("CD")


@dataclass(frozen=True, slots=True)
class YearBetween:
    """A year from `first` to `last`, whatever the clock says."""

    first: int
    last: int

    def write(self, draw: Draw) -> None:
        """Append the year."""
        draw.words.append(str(_between(self.first, self.last, draw)))
        draw.tags.append("CD")


@dataclass(frozen=True, slots=True)
class YearsPassed:
    """How many years pass, as a word; the clock moves forward with them."""

    low: int
    high: int

    def write(self, draw: Draw) -> None:
        """Move the clock and append the number of years."""
        passed = _between(self.low, self.high, draw)
        draw.year += passed
        draw.words.append(_NUMBER_WORDS[passed - 2])
        draw.tags.append("CD")


class Decade:
    """The decade of the document's clock: `1830s`."""

    def write(self, draw: Draw) -> None:
        """Append the decade."""
        draw.words.append(f"{draw.year // 10}0s")
        draw.tags.append("NNS")


class Century:
    """The century of the document's clock: `19th`."""

    def write(self, draw: Draw) -> None:
        """Append the century."""
        draw.words.append(f"{draw.year // 100 + 1}th")
        draw.tags.append("JJ")


def _between(low: int, high: int, draw: Draw) -> int:
    return low + int((high - low + 1) * draw.random())


_takes_an = cache(takes_an)
