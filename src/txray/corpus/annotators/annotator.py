"""The interface of annotators, and the rules that all of them follow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from txray.corpus.document import Document

OUTSIDE = "O"
"""The value of a word that belongs to no entity or category."""

UNKNOWN = "_"
"""The value of a word that has none, as in CoNLL-U."""

COLUMNS = ("pos", "upos", "lemma", "feats", "deprel", "ent")
"""Annotations of pipelines, by the names of the columns of CoNLL-U."""


_MAX_WORD_LENGTH = 1_000


class Annotator(Protocol):
    """Callable that returns one value for every word of a document, with a `fingerprint`.

    An attribute `name`, if there is one, is the default name of the annotation.
    """

    @property
    def fingerprint(self) -> str:
        """Hash of everything that decides the values: other values need another fingerprint."""

    def __call__(self, document: Document) -> tuple[str, ...]:
        """Return (n_words,) values, none empty and none with white space."""


def as_label(value: str) -> str:
    """Return a value for `Corpus.annotate`: white space inside becomes `␣`, an empty value becomes `_`."""
    return "␣".join(value.split()) or UNKNOWN


def readable(words: Sequence[str]) -> tuple[str, ...]:
    """Return words for pipelines: an empty one becomes `_`, one of more than 1,000 characters is cut."""
    return tuple(word[:_MAX_WORD_LENGTH] or UNKNOWN for word in words)


def pieces(document: Document, max_words: int) -> Iterator[tuple[tuple[str, ...], list[int]]]:
    """Split a document into pieces of whole sentences, for pipelines that cannot process it at once.

    Args:
        document: to be split.
        max_words: maximum number of words in a piece; a longer sentence is cut.

    Yields:
        The words of the piece, and the positions in it at which sentences start.
    """
    words: list[str] = []
    starts: list[int] = []
    for sentence in sentences(document, max_words):
        if words and len(words) + len(sentence) > max_words:
            yield tuple(words), starts
            words, starts = [], []
        starts.append(len(words))
        words.extend(sentence)
    yield tuple(words), starts


def sentences(document: Document, max_words: int) -> Iterator[tuple[str, ...]]:
    """Yield the sentences of a document; those of more than `max_words` words in parts."""
    for sentence in document.sentences():
        for start in range(0, len(sentence), max_words):
            yield sentence[start : start + max_words]
