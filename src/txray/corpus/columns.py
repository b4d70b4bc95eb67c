"""Which column of a table holds the text, and which the ids, labels and annotations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from txray.corpus.kinds import KINDS
from txray.errors import UnknownNameError, UsageError

Annotations = Sequence[str] | Mapping[str, str] | None
"""Columns, or name of the annotation -> column; None for all columns that can be one."""

_WORDS = ("words", "tokens")
_TEXT = "text"
_LABEL = "label"


@dataclass(frozen=True, slots=True)
class Field:
    """What a column holds.

    Attributes:
        is_list: lists of such values.
        holds: `text`, `whole` (whole numbers, true and false), `value` (other numbers, dates and times) or `other`.
        names: of the classes that whole numbers stand for; None where they are mere numbers.
    """

    is_list: bool
    holds: Literal["text", "whole", "value", "other"]
    names: tuple[str, ...] | None = None

    @property
    def is_label(self) -> bool:
        """Whether its values can be labels."""
        return self.holds != "other"

    def __str__(self) -> str:
        names = {
            "text": "text",
            "whole": "whole numbers",
            "value": "numbers or dates",
            "other": "something else",
        }
        what = names[self.holds]
        return f"lists of {what}" if self.is_list else what


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns that are read.

    Attributes:
        text: running text; or
        words: its words as a list.
        id: ids; None for the numbers of the rows.
        label: labels of the documents, if any.
        group: groups of documents that depend on each other, if any.
        annotations: name -> column with a list of values.
        tokenized, html: how the running text is split, see `txray.corpus.splitting.TextSplitter`.
    """

    text: str | None
    words: str | None
    id: str | None
    label: str | None
    group: str | None
    annotations: Mapping[str, str]
    tokenized: bool = False
    html: bool = False

    @property
    def columns(self) -> list[str]:
        """All columns that are read, each once."""
        named = (self.text, self.words, self.id, self.label, self.group, *self.annotations.values())
        return list(dict.fromkeys(name for name in named if name is not None))


def layout(
    where: str,
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
) -> Layout:
    """Check what is asked for, and find what is not.

    Args:
        where: names the table in errors.
        fields: column -> what it holds.
        text: column with running text.
        words: column with lists of words; by default, where `text` is not given either, the first that there is of
            the columns `words`, `tokens` and (running text) `text`.
        id: column with ids, unique (not checked); by default the number of the row.
        label: column with the label of the document; by default `label`, where there is one; False for none.
        group: column with the group of the document; by default none has one.
        annotations: columns with one value per word; by default, beside a column of words, all others with lists of
            text or of classes.
        tokenized, html: of running text, see `txray.corpus.splitting.TextSplitter`.

    Raises:
        UnknownNameError: no such column.
        UsageError: a column that holds something else than is needed.
    """
    if text is not None and words is not None:
        raise UsageError(f"{where}: both text={text!r} and words={words!r}; give one of them")
    if text is None and words is None:
        words = next((name for name in _WORDS if name in fields and fields[name].is_list), None)
        text = _TEXT if words is None and _TEXT in fields else None
        if text is None and words is None:
            raise UsageError(
                f"{where}: no column 'words', 'tokens' or 'text'; name one with words=... or text=...; there are: "
                f"{', '.join(fields) or 'none'}"
            )
    for option, column, needed in (
        ("text", text, Field(False, "text")),
        ("words", words, Field(True, "text")),
    ):
        if column is not None:
            found = _field(where, fields, option, column)
            if (found.is_list, found.holds) != (needed.is_list, needed.holds):
                other = "words" if found.is_list else "text"
                hint = f"give {other}={column!r}" if found.holds == "text" else "name another column"
                raise UsageError(f"{where}: {option}={column!r} holds {found}, needs {needed}; {hint}")
    if words is not None and (tokenized or html):
        option = "tokenized" if tokenized else "html"
        raise UsageError(
            f"{where}: {option}=True is for running text, and words={words!r} holds lists of words; name a column of "
            "text with text=..., or leave it out"
        )
    if label is None and _LABEL in fields:
        label = _LABEL
    label = label if label is not False else None
    for option, column in (("id", id), ("label", label), ("group", group)):
        if column is not None:
            found = _field(where, fields, option, column)
            if found.is_list or not found.is_label or (option == "id" and found.holds == "value"):
                needs = "text or whole numbers" if option == "id" else "one text, number or date"
                instead = ", or label=False for no labels" if option == "label" else ""
                raise UsageError(
                    f"{where}: {option}={column!r} holds {found}, needs {needs}; name another column with "
                    f"{option}=...{instead}"
                )
    if annotations is None and words is None:
        annotations = ()
    chosen = _annotations(where, fields, annotations, {words, id, label, group})
    if chosen and words is None:
        raise UsageError(
            f"{where}: annotations need one value per word, and text={text!r} has no words yet; name a column of "
            "words with words=..."
        )
    return Layout(text, words, id, label, group, chosen, tokenized, html)


def _annotations(
    where: str, fields: Mapping[str, Field], asked: Annotations, taken: set[str | None]
) -> dict[str, str]:
    if isinstance(asked, str):
        raise UsageError(f"{where}: annotations={asked!r}; give a list of columns, such as [{asked!r}]")
    if asked is None:
        chosen = {
            name: name
            for name, field in fields.items()
            if name not in taken and field.is_list and (field.holds == "text" or field.names is not None)
        }
    else:
        chosen = dict(asked) if isinstance(asked, Mapping) else {name: name for name in asked}
    for name, column in chosen.items():
        found = _field(where, fields, "annotations", column)
        if not found.is_list or not found.is_label:
            raise UsageError(
                f"{where}: annotation {column!r} holds {found}, needs lists of text or numbers; leave it out of "
                "annotations=..."
            )
        if name in KINDS:
            raise UsageError(
                f"{where}: annotation {name!r} is a feature type of its own and would be hidden; name it "
                f"otherwise with annotations={{'...': {column!r}}}, or leave it out"
            )
    return chosen


def _field(where: str, fields: Mapping[str, Field], option: str, column: object) -> Field:
    if not isinstance(column, str):
        raise UsageError(f"{where}: {option}={column!r}; give the name of a column")
    if column not in fields:
        raise UnknownNameError.of("column", column, fields, where=f"{where}, {option}")
    return fields[column]
