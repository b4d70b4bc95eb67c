"""Disjoint groups of documents, by a stable hash of the document id."""

from __future__ import annotations

import hashlib

DEFAULT_FOLDS = 16
"""Sixteen, because 2^8 paired sign flips cannot reach 5 % FDR among 1500 neurons and 2^16 can."""


MOST_FOLDS = 65_535
"""What a stage folder can number."""


def document_key(document_id: str) -> int:
    """A 63-bit hash of a document id: the same in every process, on every machine."""
    digest = hashlib.blake2b(document_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def fold_of(document_id: str, folds: int = DEFAULT_FOLDS) -> int:
    """The fold, in 0 .. folds-1, that a document belongs to."""
    return document_key(document_id) % folds
