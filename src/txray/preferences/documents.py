"""Count documents that repeat another word for word, and groups, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from txray.arrays import Ints

DOCUMENT_SCHEMA: dict[str, pl.DataType] = {"kind": pl.String(), "hash": pl.Int64(), "words": pl.Int64()}
"""Columns of the table of documents: kind is `text` or `group`, words is the length of a text and 0 for a group."""

WITHOUT_GROUP = "documents_without_group"

_TEXT, _GROUP = "text", "group"
_MAX_HASHES = 1 << 18
"""Hashes stored per kind: counts of fewer texts are exact, those of more have a standard error of 0.2%."""

_HASHES = 1 << 63
_PENDING = 1 << 14
"""Hashes that are buffered before they are sorted into the smallest."""
_WARNING_SHARE = 0.01
"""Share of the words in repeated documents above which a stage warns."""


class DocumentTally:
    """Counts the distinct texts and groups of the documents of one pass.

    Of each kind, at most the 262,144 smallest hashes are stored. They depend neither on the order of the documents nor
    on their division into shards: the smallest hashes of all shards are those of the whole.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._texts = _Smallest()
        self._groups = _Smallest()
        self._documents = 0
        self._words = 0
        self._without_group = 0

    def add(self, text: int, words: int, group: int | None) -> None:
        """Count one document.

        Args:
            text: hash of its words, 0 to 2^63 - 1.
            words: number of its words.
            group: hash of its group, if it has one.
        """
        self._documents += 1
        self._words += words
        self._texts.add(text, words)
        if group is None:
            self._without_group += 1
        else:
            self._groups.add(group, 0)

    def table(self) -> pl.DataFrame:
        """Return the stored hashes with the columns of `DOCUMENT_SCHEMA`, sorted by kind and hash."""
        tables = []
        for kind, smallest in ((_GROUP, self._groups), (_TEXT, self._texts)):
            hashes, words = smallest.arrays()
            columns = {"kind": [kind] * len(hashes), "hash": hashes, "words": words}
            tables.append(pl.DataFrame(columns, schema=DOCUMENT_SCHEMA))
        return pl.concat(tables)

    def counts(self) -> dict[str, int]:
        """Return the counts for the manifest; see `counts_of`."""
        return counts_of(
            self.table(), documents=self._documents, words=self._words, without_group=self._without_group
        )


class _Smallest:
    """The smallest distinct hashes, with a number of words per hash."""

    def __init__(self) -> None:
        self._hashes = np.zeros(0, np.int64)
        self._words = np.zeros(0, np.int64)
        self._pending: list[tuple[int, int]] = []
        self._limit = _HASHES

    def add(self, key: int, words: int) -> None:
        if key >= self._limit:
            return
        self._pending.append((key, words))
        if len(self._pending) >= _PENDING:
            self.arrays()

    def arrays(self) -> tuple[Ints, Ints]:
        """Return (n,) hashes, ascending, and (n,) numbers of words."""
        if self._pending:
            hashes, words = np.array(self._pending, np.int64).T
            self._pending = []
            self._hashes, first = np.unique(np.concatenate((self._hashes, hashes)), return_index=True)
            self._words = np.concatenate((self._words, words))[first][:_MAX_HASHES]
            self._hashes = self._hashes[:_MAX_HASHES]
            if len(self._hashes) == _MAX_HASHES:
                self._limit = int(self._hashes[-1])
        return self._hashes, self._words


def merged_documents(tables: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Return the table of one pass over the documents of all these tables."""
    together = pl.concat([table.select(*DOCUMENT_SCHEMA) for table in tables])
    return (
        together.unique(["kind", "hash"])
        .sort("kind", "hash")
        .filter(pl.int_range(pl.len()).over("kind") < _MAX_HASHES)
        .select(*DOCUMENT_SCHEMA)
    )


def as_documents(table: pl.DataFrame) -> pl.DataFrame:
    """Return a table read from a file, checked.

    Raises:
        ValueError: it differs from what `DocumentTally.table` returns.
    """
    documents = table.select(*DOCUMENT_SCHEMA).cast(DOCUMENT_SCHEMA)  # type: ignore[arg-type]
    numbers = documents.select("hash", "words")
    if sum(documents.null_count().row(0)) or (len(documents) and min(numbers.min().row(0)) < 0):
        raise ValueError("documents.parquet: a gap, or a number below 0")
    if not set(documents["kind"]) <= {_TEXT, _GROUP} or not merged_documents([documents]).equals(documents):
        raise ValueError("documents.parquet: rows out of order, repeated, or of another kind")
    return documents


def counts_of(table: pl.DataFrame, *, documents: int, words: int, without_group: int) -> dict[str, int]:
    """Return the counts of a corpus for the manifest: groups, and documents that repeat another.

    Args:
        table: with the columns of `DOCUMENT_SCHEMA`.
        documents: read in all.
        words: of all documents.
        without_group: documents without a group.

    Returns:
        `groups` and `documents_without_group`; `documents_repeated` (all documents minus the distinct texts) and
        `words_repeated` (their words).
    """
    groups, _ = _distinct(_of_kind(table, _GROUP))
    texts, words_of_texts = _distinct(_of_kind(table, _TEXT))
    return {
        "groups": groups,
        WITHOUT_GROUP: without_group,
        "documents_repeated": max(0, documents - texts),
        "words_repeated": max(0, words - words_of_texts),
    }


def documents_in_common(before: pl.DataFrame, after: pl.DataFrame) -> dict[str, int | float]:
    """Return how much two stages read in common; empty if that is unknown, because a table is empty.

    Args:
        before, after: tables with the columns of `DOCUMENT_SCHEMA`.

    Returns:
        `documents_before`, `documents_after` and `documents_in_common`, numbers of distinct texts, and
        `words_in_common`, the share of the words of the longer text that are in documents of both. 0 for documents in
        other groups, because these are in other folds.
    """
    sides = [dict(_of_kind(table, _TEXT).tolist()) for table in (before, after)]
    if not all(sides):
        return {}
    # Where only the smallest hashes are stored, compare those that both tables would store: a random sample.
    limit = min(max(side) if len(side) == _MAX_HASHES else _HASHES for side in sides)
    sides = [{key: words for key, words in side.items() if key <= limit} for side in sides]
    common = sides[0].keys() & sides[1].keys()
    longer = max(sum(side.values()) for side in sides)
    groups = [set(_of_kind(table, _GROUP)[:, 0].tolist()) for table in (before, after)]
    if any(groups) and not groups[0] & groups[1]:
        common = set()
    scale = _HASHES / limit
    numbers = (round(len(texts) * scale) for texts in (*sides, common))
    names = ("documents_before", "documents_after", "documents_in_common")
    share = sum(sides[0][key] for key in common) / max(longer, 1)
    return {**dict(zip(names, numbers, strict=True)), "words_in_common": share}


def _of_kind(table: pl.DataFrame, kind: str) -> Ints:
    """Return (n, 2) hashes and words of the rows of one kind."""
    return table.filter(pl.col("kind") == kind).select("hash", "words").to_numpy()


def _distinct(rows: Ints) -> tuple[int, int]:
    """Estimate the number of distinct hashes, and of their words, from the (n, 2) smallest hashes and their words."""
    if len(rows) < _MAX_HASHES:
        return len(rows), int(rows[:, 1].sum())
    # Hashes are uniform: this share of all of them is below the largest stored one.
    share = int(rows[-1, 0]) / _HASHES
    return round((len(rows) - 1) / share), round(int(rows[:-1, 1].sum()) / share)


def duplication(corpus: Mapping[str, Any], words: int) -> Iterator[str]:
    """Yield one line if more than 1% of the words (by the manifest) are in documents that repeat another."""
    repeated = int(corpus.get("words_repeated", 0))
    if repeated <= _WARNING_SHARE * words:
        return
    remedy = (
        "copies in different groups are in different folds, so tests may call too much significant: remove them, or "
        "give them one group"
        if corpus.get("groups")
        else "they share a fold, so tests allow for it, but every copy counts: remove the copies"
    )
    yield (
        f"corpus {corpus.get('name')!r}: {corpus['documents_repeated']:,} of {corpus['documents']:,} documents, with "
        f"{repeated / words:.1%} of the words, repeat the words of another; {remedy}"
    )
