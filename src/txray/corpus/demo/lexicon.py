"""Word lists: classes of words with all their inflected forms, read from small text files.

A file holds classes. `[animal noun]` begins one; its words follow, separated by commas, most frequent
first. Irregular forms stand in parentheses: `mouse (mice)`, `rise (rose risen)`, `good (better best)`.
`make: Ash, Brad + ford, ton` adds every combination of the two parts. A word of several parts names the
tags of the parts that do not inflect: `set up/RP`. `even` after the kind makes all words equally likely.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate
from typing import NamedTuple

from txray.corpus.demo import inflection
from txray.errors import CorpusError

_HEADER = re.compile(r"\[(?P<name>\S+) (?P<kind>\S+)(?P<even> even)?\]")
_ENTRY = re.compile(r"(?P<words>[^()]+?)\s*(?:\((?P<irregular>[^()]+)\))?")
# Frequency of the word of rank r in its class: 1 / (r + _FLATTEN). Sums of many such classes give the
# straight line of Zipf's law over the corpus.
_FLATTEN = 2.0

Inflect = Callable[[str, list[str]], dict[str, str | None]]
"""(uninflected word, irregular forms in order) -> tag -> form; None where `more` or `most` goes before it."""


class Phrase(NamedTuple):
    """Words that are written together, each with its Penn Treebank tag."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WordClass:
    """Words that may stand in the same place.

    Attributes:
        name: as grammars call it.
        base_tag: Penn tag of the uninflected form.
        lemmas: (n,) uninflected forms, most frequent first.
        forms: tag -> (n,) phrases, aligned with `lemmas`.
        cumulative: (n,) probabilities summed up to each word; the last is 1.
    """

    name: str
    base_tag: str
    lemmas: tuple[str, ...]
    forms: Mapping[str, tuple[Phrase, ...]]
    cumulative: tuple[float, ...]


def read_word_classes(source: str, text: str) -> Iterator[WordClass]:
    """The classes of one word list.

    Args:
        source: name of the file, for errors.
        text: its content.

    Raises:
        CorpusError: a line that is none of the forms above.
    """
    header: re.Match[str] | None = None
    entries: list[str] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.split("#")[0].strip()
        if line.startswith("["):
            if header is not None:
                yield _word_class(source, header, entries)
            header, entries = _HEADER.fullmatch(line), []
            if header is None:
                raise CorpusError(f"{source}, line {number}: {line!r} is no class; write e.g. [animal noun]")
        elif line.startswith("make:"):
            entries.extend(name for name in _made(line.removeprefix("make:")) if name not in entries)
        else:
            entries.extend(entry.strip() for entry in line.split(",") if entry.strip())
    if header is not None:
        yield _word_class(source, header, entries)


def _made(line: str) -> list[str]:
    starts, ends = ([part.strip() for part in side.split(",")] for side in line.split("+"))
    # The same letter on both sides of the seam reads as a misprint.
    names = [a + b for a in starts for b in ends if a[-1] != b[0]]
    # Ordered by hash, so that the frequent names do not all begin alike.
    return sorted(names, key=lambda name: sha256(name.encode()).digest())


def _word_class(source: str, header: re.Match[str], entries: list[str]) -> WordClass:
    name, kind = header["name"], header["kind"]
    if len(set(entries)) != len(entries) or not entries:
        twice = sorted({entry for entry in entries if entries.count(entry) > 1})
        raise CorpusError(f"{source}: class {name!r} is empty or holds words twice: {', '.join(twice)}")
    base_tag, inflect = _KINDS.get(kind, (kind, _nothing))
    inflected = [_forms(source, entry, base_tag, inflect) for entry in entries]
    weights = [1.0 if header["even"] else 1.0 / (rank + _FLATTEN) for rank in range(1, len(entries) + 1)]
    sums = list(accumulate(weights))
    return WordClass(
        name=name,
        base_tag=base_tag,
        lemmas=tuple(" ".join(forms[base_tag].words).lower() for forms in inflected),
        forms={tag: tuple(forms[tag] for forms in inflected) for tag in inflected[0]},
        cumulative=tuple(value / sums[-1] for value in sums),
    )


def _forms(source: str, entry: str, base_tag: str, inflect: Inflect) -> dict[str, Phrase]:
    parsed = _ENTRY.fullmatch(entry)
    if parsed is None:
        raise CorpusError(f"{source}: {entry!r} is no entry; write e.g. mouse (mice)")
    parts = [word.rsplit("/", 1) for word in parsed["words"].split()]
    words = [part[0] for part in parts]
    tags = [part[1] if len(part) == 2 else base_tag for part in parts]
    # The part that inflects: a verb comes before its particle, a noun after what describes it.
    bare = [position for position, part in enumerate(parts) if len(part) == 1] or [0]
    head = bare[0] if base_tag == "VB" else bare[-1]
    forms = {base_tag: Phrase(tuple(words), tuple(tags))}
    for tag, form in inflect(words[head], (parsed["irregular"] or "").split()).items():
        if form is None:
            adverb = {"JJR": ("more", "RBR"), "JJS": ("most", "RBS")}[tag]
            forms[tag] = Phrase((adverb[0], *words), (adverb[1], *tags))
        else:
            forms[tag] = Phrase(
                (*words[:head], form, *words[head + 1 :]), (*tags[:head], tag, *tags[head + 1 :])
            )
    return forms


def _nothing(word: str, irregular: list[str]) -> dict[str, str | None]:
    return {}


def _noun(word: str, irregular: list[str]) -> dict[str, str | None]:
    return {"NNS": irregular[0] if irregular else inflection.plural(word)}


def _verb(word: str, irregular: list[str]) -> dict[str, str | None]:
    past = irregular[0] if irregular else inflection.past(word)
    return {
        "VBP": word,
        "VBZ": inflection.third_person(word),
        "VBD": past,
        "VBN": irregular[1] if len(irregular) > 1 else past,
        "VBG": irregular[2] if len(irregular) > 2 else inflection.gerund(word),
    }


def _adjective(word: str, irregular: list[str]) -> dict[str, str | None]:
    regular = inflection.comparative(word), inflection.superlative(word)
    compared, highest = irregular if irregular else regular
    return {"JJR": compared, "JJS": highest}


_KINDS: Mapping[str, tuple[str, Inflect]] = {
    "name": ("NNP", _nothing),
    "noun": ("NN", _noun),
    "verb": ("VB", _verb),
    "adjective": ("JJ", _adjective),
}
