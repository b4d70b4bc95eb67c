"""The grammar files: what they may hold, and how they become nodes that can be drawn.

A line of a grammar is a sentence, or a part of one, as it is to be read:

    The {name} rises on the ( upper | southern ) slopes of {peak} and flows/VBZ {direction} .

Words are separated by spaces. A word has the tag that follows its slash, or else its usual tag from
`literals.txt`; a word without either is an error. `( a | b | )` is one of its parts, here also nothing.
Braces hold a slot:

    {name}  a fact of the document, else a rule, else a word of this class
    {bird:NNS}              the form of the word that has this tag
    {remark!}               a rule of the opposite opinion (see below)
    {10..90 by 5} {1.2..8.8}  a number
    {year} {year+2..9}      the year of the document's clock, moved forward first by 2 to 9 years
    {ahead 40..60}          a year ahead of the clock, which does not move
    {passed 2..9}           how many years pass, as a word; the clock moves
    {in 1930..1980}         a year between these, whatever the clock says
    {decade} {century}      of the clock

Opinions: a rule or a class may exist twice, as `acting+` and `acting-`. A slot `{acting}` takes the one of
the document's own opinion.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate

from txray.corpus.demo import draw
from txray.corpus.demo.draw import Node
from txray.corpus.demo.lexicon import Phrase, WordClass
from txray.errors import CorpusError

_TOKEN = re.compile(r"\{[^{}]*\}|[()|]|[^\s(){}|]+")
_WEIGHT = re.compile(r"(\d+)x (.*)")
_NUMBER = re.compile(r"([\d.]+)\.\.([\d.]+?)(?: by ([\d.]+))?")
_CLOCK = re.compile(r"(year\+|ahead |passed |in )(\d+)\.\.(\d+)")
_CLOCK_NODES: Mapping[str, Callable[[int, int], Node]] = {
    "year+": draw.Year,
    "ahead ": draw.YearAhead,
    "passed ": draw.YearsPassed,
    "in ": draw.YearBetween,
}
_PERIODS: Mapping[str, Node] = {"year": draw.Year(), "decade": draw.Decade(), "century": draw.Century()}
_BRACKETS = {"-LRB-": "(", "-RRB-": ")"}
_OPPOSITE = {"+": "-", "-": "+", "": ""}

Lines = tuple[str, ...]


class Compiler:
    """Turns lines into nodes, for one topic and one opinion.

    Args:
        topic: its name, for errors.
        rules: rule name -> its alternatives.
        classes: class name -> words.
        literals: word -> its usual tag.
        opinion: `+`, `-`, or empty where the domain has none.
    """

    def __init__(
        self,
        topic: str,
        rules: Mapping[str, Lines],
        classes: Mapping[str, WordClass],
        literals: Mapping[str, str],
        opinion: str,
    ) -> None:
        self._topic = topic
        self._rules = rules
        self._classes = classes
        self._literals = literals
        self._opinion = opinion
        self._facts: dict[str, int] = {}
        self._compiled: dict[tuple[str, str], Node | None] = {}

    def fact(self, line: str) -> tuple[tuple[Node, ...], ...]:
        """Compile `he his = he ; his || she ; her/PRP$`; the names become slots of what is compiled later.

        Returns:
            (n_alternatives, n_names) nodes, in the order of the names.
        """
        names, _, values = line.partition(" = ")
        alternatives = []
        for alternative in values.split(" || "):
            parts = tuple(self._line(part, self._opinion) for part in alternative.split(" ; "))
            if len(parts) != len(names.split()):
                raise self._error(line, f"gives {len(parts)} values to {names!r}; separate them by ;")
            alternatives.append(parts)
        for name in names.split():
            if name in self._classes or name in self._rules or name in self._facts:
                raise self._error(line, f"{name!r} hides a class, a rule or a fact; choose another name")
            self._facts[name] = len(self._facts)
        self._compiled.clear()  # rules used so far did not know these names
        return tuple(alternatives)

    def sentences(self, lines: Iterable[str]) -> tuple[Node, ...]:
        """Compile the sentences of a section, each to be drawn on its own."""
        return tuple(self._line(line, self._opinion) for line in lines)

    def _rule(self, name: str, opinion: str) -> Node:
        key = (name, opinion)
        if key not in self._compiled:
            self._compiled[key] = None
            weights, nodes = [], []
            for line in self._rules[name]:
                weighted = _WEIGHT.fullmatch(line)
                weights.append(float(weighted[1]) if weighted else 1.0)
                nodes.append(self._line(weighted[2] if weighted else line, opinion))
            self._compiled[key] = _choice(weights, nodes)
        node = self._compiled[key]
        if node is None:
            raise self._error(f"[rule {name}]", "contains itself; write the repetition out")
        return node

    def _line(self, line: str, opinion: str) -> Node:
        tokens = _TOKEN.findall(line)
        alternatives, rest = self._alternatives(tokens, opinion, line)
        if rest or len(alternatives) != 1:
            raise self._error(line, "brackets or bars do not match")
        return alternatives[0]

    def _alternatives(self, tokens: list[str], opinion: str, line: str) -> tuple[list[Node], list[str]]:
        """Parse up to a closing bracket or the end; also the tokens that are left from there on."""
        alternatives: list[Node] = []
        parts: list[Node] = []
        while tokens and tokens[0] != ")":
            token, *tokens = tokens
            if token == "|":
                alternatives.append(_sequence(parts))
                parts = []
            elif token == "(":
                inner, tokens = self._alternatives(tokens, opinion, line)
                if not tokens:
                    raise self._error(line, "a bracket stays open")
                tokens = tokens[1:]
                parts.append(_choice([1.0] * len(inner), inner))
            elif token.startswith("{"):
                parts.append(self._slot(token[1:-1], opinion, line))
            else:
                parts.append(draw.Literal(self._word(token, line)))
        return [*alternatives, _sequence(parts)], tokens

    def _word(self, token: str, line: str) -> Phrase:
        if token in _BRACKETS:
            return Phrase((_BRACKETS[token],), (token,))
        word, slash, tag = token.rpartition("/")
        if slash and word:
            return Phrase((word,), (tag,))
        if token[0].isdigit():
            return Phrase((token,), ("CD",))
        # Without a tag of its own a capital only marks the start of the line, except in names and "I".
        for word in (token, token.lower()):
            if word in self._literals:
                return Phrase(("a" if word == "an" else word,), (self._literals[word],))
        raise self._error(line, f"{token!r} has no tag; write {token}/TAG, or add it to literals.txt")

    def _slot(self, slot: str, opinion: str, line: str) -> Node:
        if slot in _PERIODS:
            return _PERIODS[slot]
        if number := _NUMBER.fullmatch(slot):
            return _number(*number.groups())
        if clock := _CLOCK.fullmatch(slot):
            return _CLOCK_NODES[clock[1]](int(clock[2]), int(clock[3]))
        name, _, tag = slot.partition(":")
        if name.endswith("!"):
            name, opinion = name[:-1], _OPPOSITE[opinion]
        if name in self._facts and not tag:
            return draw.Fact(self._facts[name])
        for known in (name + opinion, name):
            if known in self._rules:
                return self._rule(known, opinion)
            if known in self._classes:
                words = self._classes[known]
                if (tag or words.base_tag) in words.forms:
                    return draw.Word(words.cumulative, words.lemmas, words.forms[tag or words.base_tag])
        raise self._error(line, f"nothing is called {{{slot}}}")

    def _error(self, line: str, what: str) -> CorpusError:
        return CorpusError(f"grammar of {self._topic!r}, {line!r}: {what}")


def _number(low: str, high: str, step: str | None) -> draw.Number:
    decimals = len(low.partition(".")[2])
    size = float(step) if step else 10.0**-decimals
    return draw.Number(float(low), size, int((float(high) - float(low)) / size + 1.001), decimals)


def _sequence(parts: list[Node]) -> Node:
    """One node for several parts, neighbouring words joined."""
    joined: list[Node] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, draw.Literal) and isinstance(last, draw.Literal):
            words, tags = part.phrase
            joined[-1] = draw.Literal(Phrase(last.phrase.words + words, last.phrase.tags + tags))
        else:
            joined.append(part)
    return joined[0] if len(joined) == 1 else draw.Sequence(tuple(joined))


def _choice(weights: list[float], nodes: list[Node]) -> Node:
    if len(nodes) == 1:
        return nodes[0]
    sums = list(accumulate(weights))
    return draw.Choice(tuple(value / sums[-1] for value in sums), tuple(nodes))
