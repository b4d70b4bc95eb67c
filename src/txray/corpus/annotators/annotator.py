"""What an annotator is, and the rules that all of them keep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from txray.corpus.document import Document

OUTSIDE = "O"
"""The value of a word that belongs to no entity or category."""

UNKNOWN = "_"
"""The value of a word that has none, as in CoNLL-U."""

COLUMNS = ("pos", "upos", "lemma", "feats", "deprel", "ent")
"""What pipelines are asked for, by the names that CoNLL-U's columns have here."""


_LONGEST_WORD = 1_000


class Annotator(Protocol):
    """Gives every word of a document one value.

    Any callable with a `fingerprint` is one. With an attribute `name`, that is what the annotation is called where the
    caller does not say.
    """

    @property
    def fingerprint(self) -> str:
        """Hash of what decides the values: other values need another fingerprint."""

    def __call__(self, document: Document) -> tuple[str, ...]:
        """(n_words,) values, none empty and none with white space."""


def as_label(value: str) -> str:
    """A value as `Corpus.annotate` takes it: white space inside becomes `␣`, and nothing becomes `_`."""
    return "␣".join(value.split()) or UNKNOWN


def readable(words: Sequence[str]) -> tuple[str, ...]:
    """Words as pipelines can take them: an empty one becomes `_`, one of more than 1,000 characters is cut."""
    return tuple(word[:_LONGEST_WORD] or UNKNOWN for word in words)


def pieces(document: Document, most: int) -> Iterator[tuple[tuple[str, ...], list[int]]]:
    """A document in pieces that a pipeline can hold: as many whole sentences as fit.

    A sentence of more words than that is cut.

    Args:
        document: what is cut.
        most: words of a piece.

    Yields:
        The words of the piece, at most `most`, and the positions in it at which sentences start.
    """
    words: list[str] = []
    starts: list[int] = []
    for sentence in sentences(document, most):
        if words and len(words) + len(sentence) > most:
            yield tuple(words), starts
            words, starts = [], []
        starts.append(len(words))
        words.extend(sentence)
    yield tuple(words), starts


def sentences(document: Document, most: int) -> Iterator[tuple[str, ...]]:
    """The sentences of a document; those of more than `most` words in parts."""
    for sentence in document.sentences():
        for start in range(0, len(sentence), most):
            yield sentence[start : start + most]
