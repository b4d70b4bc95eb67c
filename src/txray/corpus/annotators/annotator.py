"""The interface of annotators, and the rules that all of them follow."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Protocol

from txray.corpus.document import Document

OUTSIDE = "O"
"""The value of a word that belongs to no entity or category."""

UNKNOWN = "_"
"""The value of a word that has none, as in CoNLL-U."""

COLUMNS = ("pos", "upos", "lemma", "feats", "deprel", "ent")
"""Annotations of pipelines, by the names of the columns of CoNLL-U."""

Sentences = list[list[str]]
"""The words of each sentence."""

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


class PipelineAnnotator(ABC):
    """Annotator that passes whole sentences to a pipeline of another library, some at once."""

    max_words: ClassVar[int]
    """Number of words that go through the pipeline at once: its memory grows with them."""

    def __call__(self, document: Document) -> tuple[str, ...]:
        """Return the values of the words."""
        return tuple(
            value
            for sentences in pieces(document, self.max_words)
            for value in self._annotate(document, sentences)
        )

    @abstractmethod
    def _annotate(self, document: Document, sentences: Sentences) -> list[str]:
        """Return the values of the words of a piece of a document."""


def pieces(document: Document, max_words: int) -> Iterator[Sentences]:
    """Split a document into pieces of whole sentences, for pipelines that cannot process it at once.

    Args:
        document: to be split.
        max_words: maximum number of words in a piece; a longer sentence is cut.

    Yields:
        The sentences of a piece, as pipelines can read them: an empty word becomes `_`, one of more than 1,000
        characters is cut.
    """
    piece: Sentences = []
    size = 0
    for sentence in document.sentences():
        for start in range(0, len(sentence), max_words):
            part = [word[:_MAX_WORD_LENGTH] or UNKNOWN for word in sentence[start : start + max_words]]
            if piece and size + len(part) > max_words:
                yield piece
                piece, size = [], 0
            piece.append(part)
            size += len(part)
    yield piece
