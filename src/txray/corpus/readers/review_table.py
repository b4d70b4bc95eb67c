"""Reviews as rows of a CSV table."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from txray.corpus.readers.reviews import Review
from txray.corpus.sources import MAX_LINE, Source, content_fingerprint
from txray.corpus.values import written_label
from txray.errors import CorpusError, UnknownNameError, in_one_line

if TYPE_CHECKING:
    from _csv import Reader

_NEEDED = ("text", "label")
_LABELS: Mapping[str, str] = {"pos": "pos", "neg": "neg", "1": "pos", "0": "neg"}


@dataclass(frozen=True, slots=True)
class ReviewTable:
    """A comma-separated UTF-8 table whose header names `text` and `label`, and maybe `id` and `rating`.

    Labels are `pos` and `neg`, or 1 and 0. Ids are the file, the number of the row, and the value of a column `id`, so
    that they are unique even if that is not. `group` names the column with groups, if any.
    """

    source: Source
    group: str | None = None

    def check(self) -> ReviewTable:
        """Check the header; return this table.

        Raises:
            CorpusError: unreadable, or without the columns.
        """
        self.source.check()
        next(self._rows(), None)
        return self

    def with_label(self, label: str, skipped: Counter[str]) -> Iterator[Review]:
        """Yield the reviews with this label."""
        for number, line, row in self._rows():
            value = written_label(row["label"]) or ""
            if value not in _LABELS:
                raise CorpusError(
                    f"{self.source.location}, line {line}: label {row['label'][:40]!r}; give pos or neg, or 1 or 0"
                )
            if _LABELS[value] == label:
                row_id = written_label(row.get("id", ""))
                name = f"{self.source.id_prefix}/{number:06d}"
                yield Review(
                    f"{name}/{row_id}" if row_id else name,
                    row["text"],
                    written_label(row.get("rating", "")),
                    None if self.group is None else written_label(row[self.group]),
                )

    def fingerprint(self, **options: object) -> str:
        """Return a hash of the content and of the options."""
        return content_fingerprint("imdb", [self.source.digest()], group=self.group, **options)

    def _rows(self) -> Iterator[tuple[int, int, Mapping[str, str]]]:
        """Yield the number of each row, from 1, the number of its last line, and its values by column."""
        # strict: a broken quote is an error, not a field that swallows the rest of the file
        table = csv.reader((text for _, text in self.source.lines()), strict=True)
        columns = self._next(table)
        if columns is None or not set(_NEEDED) <= {column.strip() for column in columns}:
            names = ", ".join(map(repr, columns or ())) or "none"
            raise CorpusError(
                f"{self.source.location}: columns {names[:200]}; needs {' and '.join(map(repr, _NEEDED))} in "
                "the first line, separated by commas"
            )
        header = [column.strip() for column in columns]
        if self.group is not None and self.group not in header:
            raise UnknownNameError.of("column", self.group, header, where=f"{self.source.location}, group")
        number = 0
        while (values := self._next(table)) is not None:
            if not values:
                continue
            number += 1
            if len(values) != len(header):
                raise CorpusError(
                    f"{self.source.location}, line {table.line_num}: {len(values)} values for {len(header)} "
                    "columns; put text with commas or quotes between double quotes"
                )
            yield number, table.line_num, dict(zip(header, values, strict=True))

    def _next(self, table: Reader) -> list[str] | None:
        """Return the next row; None at the end."""
        # 131,072 characters by default, and one value for the whole process: raised for this row only
        limit = csv.field_size_limit(MAX_LINE)
        try:
            return next(table, None)
        except csv.Error as error:
            raise CorpusError(
                f"{self.source.location}, line {table.line_num}: broken CSV ({in_one_line(error)}); check the "
                "quotes and the line ends"
            ) from error
        finally:
            csv.field_size_limit(limit)
