"""Hugging Face data sets as corpora."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from typing import Any, Literal

from txray._optional import import_package
from txray.corpus.columns import Annotations, Field, column_mapping
from txray.corpus.corpus import Corpus
from txray.corpus.tables import corpus_of_table
from txray.errors import CorpusError, UsageError


def from_dataset(
    dataset: Any,
    *,
    text: str | None = None,
    words: str | None = None,
    id: str | None = None,  # noqa: A002
    label: str | Literal[False] | None = None,
    group: str | None = None,
    annotations: Annotations = None,
    tokenized: bool = False,
    html: bool = False,
    name: str | None = None,
) -> Corpus:
    """Return a Hugging Face data set as a corpus: each row is a document.

    Rows are read again in every pass, and only the columns that are used; of a stream that does not know its columns,
    the first row is read once to find them. A transform (`with_transform`) is applied; of a format, only its choice of
    columns counts. Numbers of classes (`ClassLabel`) become their names. A row whose text is null is skipped as `no
    text`, one whose text has no words as `no words`. A label that is null, or -1 among numbers of classes, is missing;
    as the value of a word it is `_`.

    The fingerprint is of the values that are read, and of the name if ids contain it; unlike that of the data set it
    does not depend on how the data set was created. Computing it takes a pass over the rows.

    Args:
        dataset: `datasets.Dataset` or `datasets.IterableDataset`, which must yield the same rows in every pass.
        text: column with running text, which is tokenised; or
        words: column with lists of words, none empty. By default the first of the columns `words`, `tokens` and
            (running text) `text` that exists. A column `spacing` beside words, lists of text, holds the white space
            before each word, unless `annotations` names it.
        id: column with ids, strings or whole numbers, unique (not checked); by default the name and the number of the
            row, from 0, such as `imdb/test/000007`.
        label: column with the label of the document: text, numbers (whole ones are written without a fraction), truth
            values, dates or times; by default `label`, if it exists; False for none.
        group: column with the group of the document, strings or whole numbers, such as the book it is a chapter of:
            documents of one group share a fold. By default, and if it is null, a document depends on no other.
        annotations: columns with lists of labels, one per word, or name of the annotation -> column, e.g.
            `{"pos": "pos_tags"}`. By default, beside a column of words, all that hold lists of text or classes.
        tokenized: running text consists of words separated by white space, as WikiText does; a line end is a sentence
            end.
        html: running text is HTML, as the reviews of IMDB are: `<br />` becomes a line end and entities become
            characters; other tags stay.
        name: of the corpus; by default that of the data set and its split, e.g. `imdb/test`.

    Returns:
        The corpus; columns are checked before this returns, values while it is read.

    Raises:
        UnknownNameError: no such column.
        UsageError: not a data set, or one of several splits; a column that holds something else than is needed.
        CorpusError: while reading: an unusable value, with the number of its row.
    """
    table = _DatasetTable(dataset, name)
    mapping = column_mapping(
        table.location,
        table.fields,
        text=text,
        words=words,
        id=id,
        label=label,
        group=group,
        annotations=annotations,
        tokenized=tokenized,
        html=html,
    )
    return corpus_of_table(table.id_prefix, table, mapping)


_VALUES = ("float", "decimal", "date", "time")
"""Beginnings of the types of columns whose values can be labels, beside text and whole numbers."""


class _DatasetTable:
    """A data set; see `txray.corpus.tables.TableSource`."""

    def __init__(self, dataset: Any, name: str | None) -> None:
        datasets = import_package("datasets", "from_dataset")
        if isinstance(dataset, datasets.DatasetDict | datasets.IterableDatasetDict):
            splits = ", ".join(map(str, dataset)) or "none"
            raise UsageError(f"from_dataset: a data set of several splits; give one of them: {splits}")
        if not isinstance(dataset, datasets.Dataset | datasets.IterableDataset):
            raise UsageError(
                f"from_dataset: a {type(dataset).__name__}; give a datasets.Dataset or datasets.IterableDataset"
            )
        self.id_prefix = name or _name(dataset)
        self.location = f"data set {self.id_prefix!r}"
        format = getattr(dataset, "format", None) or {}  # noqa: A001
        transformed = format.get("type") == "custom"
        # Without a format, which would turn the values into arrays and tensors.
        self._dataset = dataset if transformed else dataset.with_format(None)
        self._typed = dataset.features is not None and not transformed
        columns = format.get("columns")
        self.fields: Mapping[str, Field] = (
            {
                column: _field(feature)
                for column, feature in dataset.features.items()
                if columns is None or column in columns
            }
            if self._typed
            else self._fields_of_first_row()
        )

    def read(self, columns: Sequence[str]) -> Iterator[Mapping[str, object]]:
        # Other columns may hold pictures or sounds, which would be decoded.
        yield from self._dataset.select_columns(list(columns)) if self._typed else self._dataset

    def _fields_of_first_row(self) -> dict[str, Field]:
        row = next(iter(self._dataset), None)
        if row is None:
            raise CorpusError(f"{self.location}: no rows; check the path and the split")
        return {column: _field_of_value(value) for column, value in row.items()}


def _name(dataset: Any) -> str:
    parts = (dataset.info.dataset_name or "dataset", dataset.split)
    return "/".join(str(part) for part in parts if part is not None)


def _field(feature: Any, *, is_list: bool = False) -> Field:
    inner = getattr(feature, "feature", None)
    if inner is not None and not is_list:
        return _field(inner, is_list=True)
    names = getattr(feature, "names", None)
    dtype = getattr(feature, "dtype", None)
    if names is not None:
        return Field(is_list, "whole", tuple(names))
    if dtype in ("string", "large_string", "string_view"):
        return Field(is_list, "text")
    if not isinstance(dtype, str):
        return Field(is_list, "other")
    if dtype == "bool" or dtype.lstrip("u").startswith("int"):
        return Field(is_list, "whole")
    return Field(is_list, "value" if dtype.startswith(_VALUES) else "other")


def _field_of_value(value: object) -> Field:
    """Return the probable type of a column, from one of its values."""
    if isinstance(value, list | tuple):
        return Field(True, _field_of_value(value[0]).holds if value else "text")
    if value is None or isinstance(value, str):
        return Field(False, "text")
    if isinstance(value, int):
        return Field(False, "whole")
    return Field(False, "value" if isinstance(value, float | Decimal | date | time) else "other")
