"""Rows of a table as documents: the use of each column, and how its values are read."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from txray.corpus.annotators.annotator import UNKNOWN
from txray.corpus.columns import ColumnMapping, Field
from txray.corpus.corpus import Corpus, LazyDocument
from txray.corpus.document import Document
from txray.corpus.splitting import TextSplitter
from txray.corpus.tokenize import Tokens, sentence_starts
from txray.corpus.values import BadValueError, id_text, label_text, short
from txray.errors import CorpusError
from txray.text import is_text


class TableSource(Protocol):
    """A table that can be read again and again, in the same order.

    Attributes:
        location: names the table in errors.
        id_prefix: begins the ids of its documents.
        fields: column -> type of its values.
    """

    location: str
    id_prefix: str
    fields: Mapping[str, Field]

    def read(self, columns: Sequence[str]) -> Iterator[Mapping[str, object]]:
        """Yield the rows with the values of some columns; a column that a row lacks may be missing."""


def corpus_of_table(name: str, table: TableSource, mapping: ColumnMapping) -> Corpus:
    """Return the documents of a table, one per row.

    A row without a text (null) is skipped as `no text`, one whose text holds no words as `no words`.

    Args:
        name: of the corpus.
        table: the source.
        mapping: the use of its columns.
    """
    split = TextSplitter(tokenized=mapping.tokenized, html=mapping.html)

    def lazy_documents(skipped: Counter[str]) -> Iterator[LazyDocument]:
        for entry in _entries(table, mapping):
            if entry.text is None:
                skipped["no text"] += 1
            elif not (split.has_words(entry.text) if isinstance(entry.text, str) else entry.text):
                skipped["no words"] += 1
            else:
                yield partial(_document, entry, split)

    def fingerprint() -> str:
        # Not the data set's own fingerprint: equal text must give an equal one, however it came about.
        rules = split.rules if mapping.text else "words"
        digest = hashlib.sha256(repr(("rows", rules, sorted(mapping.annotations))).encode())
        for entry in _entries(table, mapping):
            digest.update(repr(entry.content).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    return Corpus.from_lazy_documents(name, lazy_documents, fingerprint=fingerprint)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A row, read but not yet tokenised.

    Attributes:
        location: names the row in errors.
        text: running text, or its words; None if there is none.
        group: None if the document depends on no other.
        annotations: of each word, by name.
        spacing: white space before each of the words; None if it is not known, or of running text.
    """

    location: str
    id: str
    text: str | tuple[str, ...] | None
    label: str | None
    group: str | None
    annotations: Mapping[str, tuple[str, ...]]
    spacing: tuple[str, ...] | None = None

    @property
    def content(self) -> tuple[object, ...]:
        """Everything that decides the document."""
        spacing = () if self.spacing is None else (self.spacing,)
        return self.id, self.text, self.label, self.group, sorted(self.annotations.items()), *spacing


def _document(entry: _Entry, split: TextSplitter) -> Document:
    text = entry.text or ()
    tokens = split(text) if isinstance(text, str) else Tokens(text, sentence_starts(text), entry.spacing)
    try:
        return Document(
            id=entry.id,
            words=tokens.words,
            annotations=entry.annotations,
            labels={} if entry.label is None else {"label": entry.label},
            sentence_starts=tokens.sentence_starts,
            group=entry.group,
            spacing=tokens.spacing,
        )
    except CorpusError as error:
        raise CorpusError(f"{entry.location}: {error}") from error


def _entries(table: TableSource, mapping: ColumnMapping) -> Iterator[_Entry]:
    for number, row in enumerate(table.read(mapping.columns)):
        try:
            yield _entry(table, mapping, number, row)
        except BadValueError as error:
            raise CorpusError(f"{table.location}, row {number}: {error}") from error


def _entry(table: TableSource, mapping: ColumnMapping, number: int, row: Mapping[str, object]) -> _Entry:
    text = _text(mapping, row)

    def class_or_text(column: str | None) -> str | None:
        return None if column is None else _class_or_text(column, row.get(column), table.fields)

    return _Entry(
        location=f"{table.location}, row {number}",
        id=id_text(mapping.id, row.get(mapping.id)) if mapping.id else f"{table.id_prefix}/{number:06d}",
        text=text,
        label=class_or_text(mapping.label),
        group=class_or_text(mapping.group),
        annotations={}
        if text is None
        else {
            name: _annotation(column, row.get(column), table.fields)
            for name, column in mapping.annotations.items()
        },
        spacing=None if mapping.spacing is None else _strings(mapping.spacing, row),
    )


def _text(mapping: ColumnMapping, row: Mapping[str, object]) -> str | tuple[str, ...] | None:
    if mapping.text is not None:
        value = row.get(mapping.text)
        if value is not None and not isinstance(value, str):
            raise BadValueError(f"{mapping.text!r} is {short(value)}; give a string")
        if value is not None and not is_text(value):
            raise BadValueError(
                f"{mapping.text!r} holds half of a surrogate pair, which no file can hold; repair the source"
            )
        return value
    assert mapping.words is not None
    words = _strings(mapping.words, row)
    if words is not None and "" in words:
        raise BadValueError(
            f"{mapping.words!r}: word {words.index('')} is empty; leave it out, and its annotations"
        )
    return words


def _strings(column: str, row: Mapping[str, object]) -> tuple[str, ...] | None:
    values = _list(column, row.get(column))
    if values is None:
        return None
    for position, value in enumerate(values):
        if not isinstance(value, str):
            raise BadValueError(f"{column!r} holds {short(value)} at position {position}; give strings only")
    return tuple(map(str, values))


def _annotation(column: str, value: object, fields: Mapping[str, Field]) -> tuple[str, ...]:
    values = _list(column, value)
    if values is None:
        raise BadValueError(f"{column!r} is null; give one value per word, or leave the row out")
    texts = (_class_or_text(column, value, fields) for value in values)
    return tuple(UNKNOWN if text is None else text for text in texts)


def _list(column: str, value: object) -> Sequence[object] | None:
    if value is None or isinstance(value, list | tuple):
        return value
    raise BadValueError(f"{column!r} is {short(value)}; give a list, one value per word")


def _class_or_text(column: str, value: object, fields: Mapping[str, Field]) -> str | None:
    """Return a label as text; None if it is not known: null, or -1 among numbers of classes."""
    names = fields[column].names
    if names is None or not isinstance(value, int):
        return label_text(column, value)
    if value == -1:
        return None
    if not 0 <= value < len(names):
        raise BadValueError(f"{column!r} holds class {value}; there are 0 to {len(names) - 1}")
    return names[value]
