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

_SEPARATOR = "|"
_HEADER = "%"
_WILDCARD = "*"


def lexicon(path: str | Path, name: str | None = None, *, categories: Sequence[str] | None = None) -> Lexicon:
    """Annotate words with the categories that a file gives them.

    Each line holds a word and its categories, separated by tabs: `happy<TAB>joy<TAB>positive`. A word may have several
    lines. Case does not matter. An entry of several characters that ends in `*` applies to all words with that
    beginning, in addition to the entry of the word itself. Blank lines are ignored; headers and comments are not
    supported. Dictionaries in the format of LIWC are read as well: they begin with lines `number<TAB>category` between
    two lines `%`, and use the numbers instead of the categories.

    A word of several categories gets all of them, sorted and joined by `|`: `joy|positive`; a word of none gets `O`.

    Args:
        path: the file, UTF-8, plain or `.gz`.
        name: of the annotation; by default the file's name without its endings.
        categories: use only these; with a single one the values are that and `O`. Default: all.

    Raises:
        CorpusError: the file cannot be read, or a line is malformed; the text names the line.
        UnknownNameError: no such category.
    """
    source = file_source(Path(path)).check()
    entries = _entries(source.location, source.lines())
    known = sorted({category for _, of_word in entries for category in of_word})
    if isinstance(categories, str) or (categories is not None and not categories):
        raise UsageError(
            f"{source.location}: categories={categories!r}; give a list of at least one category"
        )
    for category in categories or ():
        if category not in known:
            raise UnknownNameError.of("category", category, known, where=source.location)
    return Lexicon(name or source.id_prefix, entries, known if categories is None else categories)


Entry = tuple[str, tuple[str, ...]]
"""Word or pattern, and categories."""


class Lexicon:
    """Annotator that looks words up in a lexicon; see `lexicon`.

    Attributes:
        name: of the annotation.
        categories: that are used, sorted.
    """

    def __init__(self, name: str, entries: Iterable[Entry], categories: Iterable[str]) -> None:
        self.name = name
        self.categories = tuple(sorted(set(categories)))
        self._words: dict[str, set[str]] = {}
        self._beginnings: dict[str, set[str]] = {}
        for entry, of_word in entries:
            used = set(of_word).intersection(self.categories)
            if not used:
                continue
            is_beginning = len(entry) > 1 and entry.endswith(_WILDCARD)
            table = self._beginnings if is_beginning else self._words
            table.setdefault(entry.removesuffix(_WILDCARD) if is_beginning else entry, set()).update(used)
        self._lengths = sorted({len(beginning) for beginning in self._beginnings})

    def __repr__(self) -> str:
        return (
            f"Lexicon({self.name!r}, {len(self._words) + len(self._beginnings)} entries, "
            f"{len(self.categories)} categories)"
        )

    @property
    def fingerprint(self) -> str:
        """Hash of the entries that are used; their order and their file do not matter."""
        return derived("lexicon 1", _content(self._words), _content(self._beginnings))

    def __call__(self, document: Document) -> tuple[str, ...]:
        """Return the values of the words."""
        return tuple(map(self._value, document.words))

    def _value(self, word: str) -> str:
        form = word.casefold()
        categories = set(self._words.get(form, ()))
        for length in self._lengths:
            if length > len(form):
                break
            categories.update(self._beginnings.get(form[:length], ()))
        return _SEPARATOR.join(sorted(categories)) if categories else OUTSIDE


def _content(table: Mapping[str, set[str]]) -> list[tuple[str, list[str]]]:
    return sorted((word, sorted(categories)) for word, categories in table.items())


@dataclass(slots=True)
class _Numbers:
    """Names of numbered categories, while the header of a dictionary is read."""

    names: dict[str, str]
    open: bool = True


def _entries(location: str, lines: Iterator[tuple[int, str]]) -> list[Entry]:
    entries: list[Entry] = []
    numbers: _Numbers | None = None
    for number, line in lines:
        fields = [field.strip() for field in line.rstrip("\r\n").split("\t")]
        while len(fields) > 1 and not fields[-1]:
            fields.pop()  # tables are often filled up with tabs
        if fields == [""]:
            continue
        line_location = f"{location}, line {number}"
        if "\r" in line.strip():
            # An old line end, which would become part of a category together with the lines that follow.
            raise CorpusError(
                f"{line_location}: {line.strip()[:40]!r} holds a line end that is not \\n or \\r\\n; convert the file"
            )
        if fields == [_HEADER] and not entries and (numbers is None or numbers.open):
            if numbers is None:
                numbers = _Numbers({})
            else:
                numbers.open = False
            continue
        if len(fields) < 2 or "" in fields:
            raise CorpusError(
                f"{line_location}: {line.strip()[:40]!r} is not a word and its categories; separate them by single tabs"
            )
        word, *categories = fields
        if numbers is not None and numbers.open:
            if len(categories) != 1 or not word.isdecimal():
                raise CorpusError(
                    f"{line_location}: {line.strip()[:40]!r} is not a number and a category; correct it"
                )
            numbers.names[word] = _category_name(line_location, categories[0])
            continue
        entries.append((word.casefold(), tuple(_category(line_location, one, numbers) for one in categories)))
    if numbers is not None and numbers.open:
        raise CorpusError(f"{location}: the categories begin with a line % and do not end with one; add it")
    if not entries:
        raise CorpusError(f"{location}: holds no words; give lines of a word and its categories")
    return entries


def _category(location: str, category: str, numbers: _Numbers | None) -> str:
    if numbers is not None:
        if category not in numbers.names:
            raise CorpusError(
                f"{location}: category {category[:40]!r} is not one of the {len(numbers.names)} in the header"
            )
        return numbers.names[category]
    return _category_name(location, category)


def _category_name(location: str, category: str) -> str:
    if category.isdecimal():
        # A flag (yes or no), or the number of a category without a name.
        raise CorpusError(
            f"{location}: category {category[:40]!r} is a number; give categories by name, and only lines that apply"
        )
    if _SEPARATOR in category or category == OUTSIDE:
        raise CorpusError(
            f"{location}: category {category[:40]!r} is ambiguous: {_SEPARATOR} separates categories and "
            f"{OUTSIDE} means none; rename it"
        )
    return as_label(category)
