"""Rows of a table as documents: what each column is for, and how its values are read."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from txray.corpus.annotators.annotator import UNKNOWN
from txray.corpus.columns import Field, Layout
from txray.corpus.corpus import Corpus
from txray.corpus.document import Document
from txray.corpus.splitting import TextSplitter
from txray.corpus.tokenize import Tokens, sentence_starts
from txray.corpus.values import BadValueError, id_text, label_text, short
from txray.errors import CorpusError


class Rows(Protocol):
    """A table that can be read again and again, in the same order.

    Attributes:
        where: names the table in errors.
        stem: begins the ids of its documents.
        fields: column -> what it holds.
    """

    where: str
    stem: str
    fields: Mapping[str, Field]

    def read(self, columns: Sequence[str]) -> Iterator[Mapping[str, object]]:
        """One pass over the values of some columns; a column that a row lacks may be missing."""


def corpus_of_rows(name: str, rows: Rows, layout: Layout) -> Corpus:
    """The documents of a table, one per row.

    A row without a text (null) is skipped as `no text`, one whose text holds no words as `no words`.

    Args:
        name: of the corpus.
        rows: the table.
        layout: which column is what.
    """
    split = TextSplitter(tokenized=layout.tokenized, html=layout.html)

    def drafts(skipped: Counter[str]) -> Iterator[Callable[[], Document]]:
        for entry in _entries(rows, layout):
            if entry.text is None:
                skipped["no text"] += 1
            elif not (split.has_words(entry.text) if isinstance(entry.text, str) else entry.text):
                skipped["no words"] += 1
            else:
                yield partial(_document, entry, split)

    def fingerprint() -> str:
        # Not the data set's own fingerprint: equal text must give an equal one, whatever was done to get there.
        rules = split.rules if layout.text else "words"
        digest = hashlib.sha256(repr(("rows", rules, sorted(layout.annotations))).encode())
        for entry in _entries(rows, layout):
            digest.update(repr(entry.content).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    return Corpus.of_drafts(name, drafts, fingerprint=fingerprint)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A row, read but not yet tokenised.

    Attributes:
        where: names the row in errors.
        text: running text, or its words; None where there is none.
        group: None where the document depends on no other.
        annotations: of each word, by name.
    """

    where: str
    id: str
    text: str | tuple[str, ...] | None
    label: str | None
    group: str | None
    annotations: Mapping[str, tuple[str, ...]]

    @property
    def content(self) -> tuple[object, ...]:
        """All that a document is made of."""
        return self.id, self.text, self.label, self.group, sorted(self.annotations.items())


def _document(entry: _Entry, split: TextSplitter) -> Document:
    given = entry.text or ()
    tokens = split(given) if isinstance(given, str) else Tokens(given, sentence_starts(given))
    try:
        return Document(
            id=entry.id,
            words=tokens.words,
            annotations=entry.annotations,
            labels={} if entry.label is None else {"label": entry.label},
            sentence_starts=tokens.sentence_starts,
            group=entry.group,
        )
    except CorpusError as error:
        raise CorpusError(f"{entry.where}: {error}") from error


def _entries(rows: Rows, layout: Layout) -> Iterator[_Entry]:
    for number, row in enumerate(rows.read(layout.columns)):
        try:
            yield _entry(rows, layout, number, row)
        except BadValueError as error:
            raise CorpusError(f"{rows.where}, row {number}: {error}") from error


def _entry(rows: Rows, layout: Layout, number: int, row: Mapping[str, object]) -> _Entry:
    text = _text(layout, row)
    return _Entry(
        where=f"{rows.where}, row {number}",
        id=id_text(layout.id, row.get(layout.id)) if layout.id else f"{rows.stem}/{number:06d}",
        text=text,
        label=_named(layout.label, row.get(layout.label), rows.fields) if layout.label else None,
        group=_named(layout.group, row.get(layout.group), rows.fields) if layout.group else None,
        annotations={}
        if text is None
        else {
            name: _annotation(column, row.get(column), rows.fields)
            for name, column in layout.annotations.items()
        },
    )


def _text(layout: Layout, row: Mapping[str, object]) -> str | tuple[str, ...] | None:
    if layout.text is not None:
        value = row.get(layout.text)
        if value is not None and not isinstance(value, str):
            raise BadValueError(f"{layout.text!r} is {short(value)}; give a string")
        if value is not None and not _is_text(value):
            raise BadValueError(
                f"{layout.text!r} holds half of a surrogate pair, which is no text; repair the source"
            )
        return value
    assert layout.words is not None
    values = _list(layout.words, row.get(layout.words))
    if values is None:
        return None
    for place, word in enumerate(values):
        if not isinstance(word, str):
            raise BadValueError(
                f"{layout.words!r} holds {short(word)} at position {place}; give strings only"
            )
        if not word:
            raise BadValueError(f"{layout.words!r}: word {place} is empty; leave it out, and its annotations")
    return tuple(map(str, values))


def _annotation(column: str, value: object, fields: Mapping[str, Field]) -> tuple[str, ...]:
    values = _list(column, value)
    if values is None:
        raise BadValueError(f"{column!r} is null; give one value per word, or leave the row out")
    return tuple(UNKNOWN if (one := _named(column, each, fields)) is None else one for each in values)


def _list(column: str, value: object) -> Sequence[object] | None:
    if value is None or isinstance(value, list | tuple):
        return value
    raise BadValueError(f"{column!r} is {short(value)}; give a list, one value per word")


def _named(column: str, value: object, fields: Mapping[str, Field]) -> str | None:
    """A label as text; None where it is not known: null, or -1 among numbers of classes."""
    names = fields[column].names
    if names is None or not isinstance(value, int):
        return label_text(column, value)
    if value == -1:
        return None
    if not 0 <= value < len(names):
        raise BadValueError(f"{column!r} holds class {value}; there are 0 to {len(names) - 1}")
    return names[value]


def _is_text(value: str) -> bool:
    """Whether it can be encoded: half a surrogate pair cannot, and ends the tokenizer."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
