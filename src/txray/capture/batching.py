"""Documents to full batches of similar length, while streaming."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from txray.corpus.document import Document
from txray.errors import UsageError

_POOL_BATCHES = 32
"""Documents of about this many batches are sorted by length at a time."""


@dataclass(frozen=True)
class Encoded:
    """A document with the ids that the model reads.

    Attributes:
        document: the words.
        forms: (n_words,) the words as the model sees them, lower-cased.
        ids: (n_positions,) input ids, with any special positions.
    """

    document: Document
    forms: list[str]
    ids: list[int]


def batches(documents: Iterable[Encoded], positions: int) -> Iterator[list[Encoded]]:
    """Group documents so that padding is small and batches are full.

    Documents are read into a pool of bounded size, sorted by length, and cut into batches of at most
    `positions` padded positions; a longer document is a batch of its own.

    Args:
        documents: encoded documents.
        positions: padded positions (documents x longest) in a batch.

    Yields:
        (n_documents,) the longest first.

    Raises:
        UsageError: `positions` is below 1.
    """
    if positions < 1:
        raise UsageError(f"batch of {positions} positions: must be at least 1")
    pool: list[Encoded] = []
    held = 0
    for encoded in documents:
        pool.append(encoded)
        held += len(encoded.ids)
        if held >= _POOL_BATCHES * positions:
            yield from _by_length(pool, positions)
            pool, held = [], 0
    yield from _by_length(pool, positions)


def _by_length(pool: list[Encoded], positions: int) -> Iterator[list[Encoded]]:
    batch: list[Encoded] = []
    for encoded in sorted(pool, key=lambda one: len(one.ids), reverse=True):
        if batch and (len(batch) + 1) * len(batch[0].ids) > positions:
            yield batch
            batch = []
        batch.append(encoded)
    if batch:
        yield batch
