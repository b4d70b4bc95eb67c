"""Interface of the collections of reviews."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

LABELS = ("pos", "neg")


@dataclass(frozen=True, slots=True)
class Review:
    """One review as stored.

    Attributes:
        id: unique in its collection.
        text: with its HTML.
        rating: 1 to 10; None if it is unknown.
        group: of reviews that depend on each other, such as those of one film; None if it is unknown.
    """

    id: str
    text: str
    rating: str | None
    group: str | None = None


class Reviews(Protocol):
    """A collection of labelled reviews that can be read again and again."""

    def with_label(self, label: str, skipped: Counter[str]) -> Iterator[Review]:
        """Yield the reviews with this label, in stored order, and count other files in `skipped`.

        Raises:
            CorpusError: while reading: damaged, not UTF-8, malformed.
        """

    def fingerprint(self, **options: object) -> str:
        """Return a hash of the content in reading order, and of the options."""
