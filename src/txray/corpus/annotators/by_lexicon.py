"""Annotation by a lexicon: a file that gives words their categories."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from txray.corpus.annotators.annotator import OUTSIDE, as_label
from txray.corpus.document import Document
from txray.corpus.sources import file_source
from txray.errors import CorpusError, UnknownNameError, UsageError
from txray.identity import derived

_BETWEEN = "|"
_HEADER = "%"
_WILDCARD = "*"


def lexicon(path: str | Path, name: str | None = None, *, categories: Sequence[str] | None = None) -> Lexicon:
    """Annotate words with the categories that a file gives them.

    Each line holds a word and its categories, separated by tabs: `happy<TAB>joy<TAB>positive`. A word may stand in
    several lines. Case does not matter. An entry of several characters that ends in `*` is for all words that begin so;
    such categories come on top of those of the word itself. Blank lines do not count; there is no header and no
    comment. A dictionary as LIWC has it is read as well: it begins with lines `number<TAB>category` between two
    lines `%`, and then gives the numbers instead of the categories.

    A word of several categories gets all of them, sorted, with `|` between: `joy|positive`; a word of none gets `O`.

    Args:
        path: the file, UTF-8, plain or `.gz`.
        name: of the annotation; by default the file's name without its endings.
        categories: only these; with a single one the values are that and `O`. All by default.

    Raises:
        CorpusError: the file cannot be read, or a line is not as described; the text names the line.
        UnknownNameError: no such category.
    """
    source = file_source(Path(path)).check()
    entries = _entries(source.where, source.lines())
    known = sorted({category for _, found in entries for category in found})
    if isinstance(categories, str) or (categories is not None and not categories):
        raise UsageError(f"{source.where}: categories={categories!r}; give a list of at least one category")
    for category in categories or ():
        if category not in known:
            raise UnknownNameError.of("category", category, known, where=source.where)
    return Lexicon(name or source.stem, entries, known if categories is None else categories)


Entry = tuple[str, tuple[str, ...]]
"""Word or pattern, and categories."""


class Lexicon:
    """See `lexicon`.

    Attributes:
        name: of the annotation.
        categories: that are told apart, sorted.
    """

    def __init__(self, name: str, entries: Iterable[Entry], categories: Iterable[str]) -> None:
        self.name = name
        self.categories = tuple(sorted(set(categories)))
        self._words: dict[str, set[str]] = {}
        self._beginnings: dict[str, set[str]] = {}
        for entry, found in entries:
            kept = set(found).intersection(self.categories)
            if not kept:
                continue
            begins = len(entry) > 1 and entry.endswith(_WILDCARD)
            table = self._beginnings if begins else self._words
            table.setdefault(entry.removesuffix(_WILDCARD) if begins else entry, set()).update(kept)
        self._lengths = sorted({len(beginning) for beginning in self._beginnings})

    def __repr__(self) -> str:
        return (
            f"Lexicon({self.name!r}, {len(self._words) + len(self._beginnings)} entries, "
            f"{len(self.categories)} categories)"
        )

    @property
    def fingerprint(self) -> str:
        """Hash of the entries that are used: their order and the file they come from do not matter."""
        return derived("lexicon 1", _content(self._words), _content(self._beginnings))

    def __call__(self, document: Document) -> tuple[str, ...]:
        """Values of the words."""
        return tuple(map(self._value, document.words))

    def _value(self, word: str) -> str:
        form = word.casefold()
        found = set(self._words.get(form, ()))
        for length in self._lengths:
            if length > len(form):
                break
            found.update(self._beginnings.get(form[:length], ()))
        return _BETWEEN.join(sorted(found)) if found else OUTSIDE


def _content(table: Mapping[str, set[str]]) -> list[tuple[str, list[str]]]:
    return sorted((word, sorted(found)) for word, found in table.items())


@dataclass(slots=True)
class _Numbers:
    """The categories that a dictionary numbers, while its header is read."""

    names: dict[str, str]
    open: bool = True


def _entries(where: str, lines: Iterator[tuple[int, str]]) -> list[Entry]:
    entries: list[Entry] = []
    numbers: _Numbers | None = None
    for number, line in lines:
        fields = [field.strip() for field in line.rstrip("\r\n").split("\t")]
        while len(fields) > 1 and not fields[-1]:
            fields.pop()  # tables are often filled up with tabs
        if fields == [""]:
            continue
        place = f"{where}, line {number}"
        if "\r" in line.strip():
            # The end of a line of old files, which would become part of a category with all that follows.
            raise CorpusError(
                f"{place}: {line.strip()[:40]!r} holds an end of line that is not \\n or \\r\\n; convert the file"
            )
        if fields == [_HEADER] and not entries and (numbers is None or numbers.open):
            if numbers is None:
                numbers = _Numbers({})
            else:
                numbers.open = False
            continue
        if len(fields) < 2 or "" in fields:
            raise CorpusError(
                f"{place}: {line.strip()[:40]!r} is not a word and its categories; separate them by single tabs"
            )
        word, *found = fields
        if numbers is not None and numbers.open:
            if len(found) != 1 or not word.isdecimal():
                raise CorpusError(
                    f"{place}: {line.strip()[:40]!r} is not a number and a category; correct it"
                )
            numbers.names[word] = _named(place, found[0])
            continue
        entries.append((word.casefold(), tuple(_category(place, one, numbers) for one in found)))
    if numbers is not None and numbers.open:
        raise CorpusError(f"{where}: the categories begin with a line % and do not end with one; add it")
    if not entries:
        raise CorpusError(f"{where}: holds no words; give lines of a word and its categories")
    return entries


def _category(place: str, category: str, numbers: _Numbers | None) -> str:
    if numbers is not None:
        if category not in numbers.names:
            raise CorpusError(
                f"{place}: category {category[:40]!r} is none of the {len(numbers.names)} that the first lines number"
            )
        return numbers.names[category]
    return _named(place, category)


def _named(place: str, category: str) -> str:
    if category.isdecimal():
        # A flag that says yes or no, or the number of a category whose name is not here: no name in any case.
        raise CorpusError(
            f"{place}: category {category[:40]!r} is a number; give categories by name, and only lines that apply"
        )
    if _BETWEEN in category or category == OUTSIDE:
        raise CorpusError(
            f"{place}: category {category[:40]!r} would be mistaken: {_BETWEEN} stands between categories and "
            f"{OUTSIDE} for none; rename it"
        )
    return as_label(category)
