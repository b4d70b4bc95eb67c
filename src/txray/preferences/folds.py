"""Divide documents into folds by a stable hash: documents that depend on each other share a fold."""

from __future__ import annotations

import hashlib
from typing import Protocol

DEFAULT_FOLDS = 16
"""Sixteen, because 2^8 paired sign flips cannot reach 5% FDR among 1500 neurons and 2^16 can."""

MAX_FOLDS = 65_535
"""Limit of the column `fold` in a stage folder."""


def document_key(document_id: str) -> int:
    """Return a 63-bit hash of a document id, the same in every process and on every machine."""
    digest = hashlib.blake2b(document_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


class HasFoldKey(Protocol):
    """A document, or anything else with a key that decides its fold."""

    @property
    def fold_key(self) -> int:
        """Return a stable hash, at least 0."""


def fold_of(document: HasFoldKey, folds: int = DEFAULT_FOLDS) -> int:
    """Return the fold of a document, 0 to `folds` - 1: by its group or, without one, by its words."""
    return document.fold_key % folds
