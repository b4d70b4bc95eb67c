"""Which column of a table holds the text, and which the ids, labels and annotations."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

from txray.corpus.document import RESERVED_NAMES
from txray.errors import UnknownNameError, UsageError

Annotations = Sequence[str] | Mapping[str, str] | None
"""Columns, or name of the annotation -> column; None for all columns that can be one."""


class ColumnOptions(TypedDict, total=False):
    """Options of readers of tables, see `txray.corpus.from_dataset`."""

    text: str | None
    words: str | None
    id: str | None
    label: str | Literal[False] | None
    group: str | None
    annotations: Annotations
    tokenized: bool
    html: bool


_WORDS = ("words", "tokens")
_TEXT = "text"
_SPACING = "spacing"
_LABEL = "label"


@dataclass(frozen=True, slots=True)
class Field:
    """Type of the values of a column.

    Attributes:
        is_list: lists of such values.
        holds: `text`, `whole` (whole numbers, true and false), `value` (other numbers, dates and times) or `other`.
        names: of the classes that whole numbers stand for; None if they are mere numbers.
    """

    is_list: bool
    holds: Literal["text", "whole", "value", "other"]
    names: tuple[str, ...] | None = None

    @property
    def is_label(self) -> bool:
        """True if its values can be labels."""
        return self.holds != "other"

    def __str__(self) -> str:
        names = {
            "text": "text",
            "whole": "whole numbers",
            "value": "numbers or dates",
            "other": "something else",
        }
        name = names[self.holds]
        return f"lists of {name}" if self.is_list else name


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """Use of the columns of a table.

    Attributes:
        text: running text; or
        words: its words as a list.
        id: ids; None for the numbers of the rows.
        label: labels of the documents, if any.
        group: groups of documents that depend on each other, if any.
        annotations: name -> column with a list of values.
        tokenized, html: how the running text is split, see `txray.corpus.splitting.TextSplitter`.
        spacing: column with the white space before each word, if any.
    """

    text: str | None
    words: str | None
    id: str | None
    label: str | None
    group: str | None
    annotations: Mapping[str, str]
    tokenized: bool = False
    html: bool = False
    spacing: str | None = None

    @property
    def columns(self) -> list[str]:
        """All columns that are read, each once."""
        named = (
            self.text,
            self.words,
            self.id,
            self.label,
            self.group,
            self.spacing,
            *self.annotations.values(),
        )
        return list(dict.fromkeys(name for name in named if name is not None))


def column_mapping(
    location: str,
    fields: Mapping[str, Field],
    *,
    text: str | None = None,
    words: str | None = None,
    id: str | None = None,  # noqa: A002
    label: str | Literal[False] | None = None,
    group: str | None = None,
    annotations: Annotations = None,
    tokenized: bool = False,
    html: bool = False,
) -> ColumnMapping:
    """Check the columns that are named, and choose the others.

    Args:
        location: names the table in errors.
        fields: column -> type of its values.
        text: column with running text.
        words: column with lists of words; if `text` is not given either, the first of the columns `words`, `tokens`
            and (running text) `text` that exists. A column `spacing` beside it holds the white space before each word,
            unless `annotations` names it.
        id: column with unique ids (not checked); by default the number of the row.
        label: column with the label of the document; by default `label`, if it exists; False for none.
        group: column with the group of the document; by default no document has one.
        annotations: columns with one value per word; by default, beside a column of words, all others with lists of
            text or of classes.
        tokenized, html: of running text, see `txray.corpus.splitting.TextSplitter`.

    Raises:
        UnknownNameError: no such column.
        UsageError: a column that holds something else than is needed.
    """
    if text is not None and words is not None:
        raise UsageError(f"{location}: both text={text!r} and words={words!r}; give one of them")
    if text is None and words is None:
        words = next((name for name in _WORDS if name in fields and fields[name].is_list), None)
        text = _TEXT if words is None and _TEXT in fields else None
        if text is None and words is None:
            raise UsageError(
                f"{location}: no column 'words', 'tokens' or 'text'; name one with words=... or text=...; there are: "
                f"{', '.join(fields) or 'none'}"
            )
    for option, column, needed in (
        ("text", text, Field(False, "text")),
        ("words", words, Field(True, "text")),
    ):
        if column is not None:
            field = _field(location, fields, option, column)
            if (field.is_list, field.holds) != (needed.is_list, needed.holds):
                other = "words" if field.is_list else "text"
                hint = f"give {other}={column!r}" if field.holds == "text" else "name another column"
                raise UsageError(f"{location}: {option}={column!r} holds {field}, needs {needed}; {hint}")
    if words is not None and (tokenized or html):
        option = "tokenized" if tokenized else "html"
        raise UsageError(
            f"{location}: {option}=True is for running text, and words={words!r} holds lists of words; name a column "
            "of text with text=..., or leave it out"
        )
    if label is None and _LABEL in fields:
        label = _LABEL
    label = label if label is not False else None
    for option, column in (("id", id), ("label", label), ("group", group)):
        if column is not None:
            field = _field(location, fields, option, column)
            if field.is_list or not field.is_label or (option == "id" and field.holds == "value"):
                needs = "text or whole numbers" if option == "id" else "one text, number or date"
                hint = ", or label=False for no labels" if option == "label" else ""
                raise UsageError(
                    f"{location}: {option}={column!r} holds {field}, needs {needs}; name another column with "
                    f"{option}=...{hint}"
                )
    if annotations is None and words is None:
        annotations = ()
    used = {words, id, label, group}
    spacing = None
    if words is not None and _SPACING not in (*used, *_requested(annotations)):
        spacing = _SPACING if fields.get(_SPACING) == Field(True, "text") else None
    column_of_annotation = _annotations(location, fields, annotations, {*used, spacing})
    if column_of_annotation and words is None:
        raise UsageError(
            f"{location}: annotations need one value per word, and text={text!r} has no words yet; name a column of "
            "words with words=..."
        )
    return ColumnMapping(text, words, id, label, group, column_of_annotation, tokenized, html, spacing)


def _requested(annotations: Annotations) -> Collection[str]:
    """Return the columns that are named as annotations."""
    return annotations.values() if isinstance(annotations, Mapping) else annotations or ()


def _annotations(
    location: str, fields: Mapping[str, Field], requested: Annotations, used: set[str | None]
) -> dict[str, str]:
    """Return name of the annotation -> column."""
    if isinstance(requested, str):
        raise UsageError(
            f"{location}: annotations={requested!r}; give a list of columns, such as [{requested!r}]"
        )
    if requested is None:
        columns = {
            name: name
            for name, field in fields.items()
            if name not in used and field.is_list and (field.holds == "text" or field.names is not None)
        }
    elif isinstance(requested, Mapping):
        columns = dict(requested)
    else:
        columns = {name: name for name in requested}
    for name, column in columns.items():
        field = _field(location, fields, "annotations", column)
        if not field.is_list or not field.is_label:
            raise UsageError(
                f"{location}: annotation {column!r} holds {field}, needs lists of text or numbers; leave it out of "
                "annotations=..."
            )
        if name in RESERVED_NAMES:
            raise UsageError(
                f"{location}: annotation {name!r} is a feature type of its own and would be hidden; choose another "
                f"name with annotations={{'...': {column!r}}}, or leave it out"
            )
    return columns


def _field(location: str, fields: Mapping[str, Field], option: str, column: object) -> Field:
    if not isinstance(column, str):
        raise UsageError(f"{location}: {option}={column!r}; give the name of a column")
    if column not in fields:
        raise UnknownNameError.of("column", column, fields, where=f"{location}, {option}")
    return fields[column]
