"""Topics: what a document is about, and the sections that it is made of.

A topic file begins with its settings, followed by sections and rules:

    weight 9                          how often the topic is chosen
    clock 1690 1880                   the first year of a document
    let name = {river_name}           a fact: drawn once, the same in every sentence
    let he his = he ; his || she ; her/PRP$   facts that belong together

    [section course 2-4]              two to four of these sentences, none twice
    It rises near {town} .
    [rule direction]                  a rule that sentences call {direction}
    3x north/RB                       three times as frequent as the others

A section without lines takes those of the rule of the same name, and of the one with the sign of the
document's opinion. Lines that begin with `#` are remarks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from txray.corpus.demo.draw import Draw, Node
from txray.corpus.demo.grammar import Compiler, Lines
from txray.corpus.demo.lexicon import WordClass
from txray.errors import CorpusError

_SECTION = re.compile(r"\[section (\S+) (\d+)(?:-(\d+))?\]")
_RULE = re.compile(r"\[rule (\S+)\]")
_SETTING = re.compile(r"(weight|clock|let) (.+)")
_FEWEST_WORDS = 40
_MOST_WORDS = 200


@dataclass(frozen=True, slots=True)
class GrammarFile:
    """The parts of one grammar file, not compiled yet.

    Attributes:
        settings: (kind, value) in order, the kind being `weight`, `clock` or `let`.
        sections: (name, fewest, most, lines) in order.
        rules: rule name -> its lines.
    """

    settings: tuple[tuple[str, str], ...]
    sections: tuple[tuple[str, int, int, Lines], ...]
    rules: Mapping[str, Lines]

    @classmethod
    def parse(cls, source: str, text: str) -> GrammarFile:
        """Read a file.

        Raises:
            CorpusError: a line before the first section or rule that is no setting.
        """
        settings: list[tuple[str, str]] = []
        sections: list[tuple[str, int, int, list[str]]] = []
        rules: dict[str, list[str]] = {}
        lines: list[str] | None = None
        for number, raw in enumerate(text.splitlines(), start=1):
            line = raw.strip()
            if not line or line.startswith("#"):
                continue
            if section := _SECTION.fullmatch(line):
                lines = []
                sections.append((section[1], int(section[2]), int(section[3] or section[2]), lines))
            elif rule := _RULE.fullmatch(line):
                lines = rules.setdefault(rule[1], [])
            elif lines is not None:
                lines.append(line)
            elif setting := _SETTING.fullmatch(line):
                settings.append((setting[1], setting[2]))
            else:
                raise CorpusError(f"{source}, line {number}: {line!r} is no setting, section or rule")
        return cls(
            tuple(settings),
            tuple((name, fewest, most, tuple(lines)) for name, fewest, most, lines in sections),
            {name: tuple(lines) for name, lines in rules.items()},
        )

    def lets(self) -> list[str]:
        """The facts, in order."""
        return [value for kind, value in self.settings if kind == "let"]


@dataclass(frozen=True, slots=True)
class Section:
    """Sentences of which a document holds `fewest` to `most`, none twice."""

    fewest: int
    most: int
    sentences: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Topic:
    """What a document can be about.

    Attributes:
        name: e.g. `river`.
        weight: relative frequency.
        clock: first and last year in which a document can begin.
        facts: per line of facts its alternatives, each with one node per fact.
        sections: in the order in which a document has them.
    """

    name: str
    weight: float
    clock: tuple[int, int]
    facts: tuple[tuple[tuple[Node, ...], ...], ...]
    sections: tuple[Section, ...]

    @classmethod
    def compile(
        cls,
        name: str,
        file: GrammarFile,
        common: GrammarFile,
        classes: Mapping[str, WordClass],
        literals: Mapping[str, str],
        opinion: str,
    ) -> Topic:
        """Turn a grammar file into a topic.

        Args:
            name: of the topic.
            file: its sections and rules.
            common: facts and rules that it shares with the other topics of its domain.
            classes: class name -> words.
            literals: word -> usual tag.
            opinion: `+`, `-` or empty.
        """
        rules = {**common.rules, **file.rules}
        compiler = Compiler(name, rules, classes, literals, opinion)
        facts = tuple(compiler.fact(line) for line in [*common.lets(), *file.lets()])
        settings = dict(file.settings)
        first, last = settings["clock"].split()
        sections = (
            Section(fewest, most, compiler.sentences(lines or _alternatives(rules, section, opinion)))
            for section, fewest, most, lines in file.sections
        )
        return cls(name, float(settings["weight"]), (int(first), int(last)), facts, tuple(sections))

    def draw(self, draw: Draw) -> tuple[list[str], list[str], list[int]]:
        """Draw a document of 40 to 200 words.

        Returns:
            words, their tags, and the positions at which sentences start.
        """
        for alternatives in self.facts:
            draw.fix(alternatives)
        words: list[str] = []
        tags: list[str] = []
        starts: list[int] = []
        left: list[Node] = []
        for section in self.sections:
            left = list(section.sentences)
            count = section.fewest + int((section.most - section.fewest + 1) * draw.random())
            while left and (count > 0 or (section is self.sections[-1] and len(words) < _FEWEST_WORDS)):
                count -= 1
                position = int(len(left) * draw.random())
                left[position], left[-1] = left[-1], left[position]
                more_words, more_tags = draw.sentence(left.pop())
                if len(words) + len(more_words) > _MOST_WORDS:
                    return words, tags, starts
                starts.append(len(words))
                words += more_words
                tags += more_tags
        return words, tags, starts


def _alternatives(rules: Mapping[str, Lines], name: str, opinion: str) -> Lines:
    names = dict.fromkeys((name, name + opinion))
    return tuple(line for key in names for line in rules.get(key, ()))
