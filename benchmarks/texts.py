"""The text that everything is measured on, in memory, so that neither disks nor grammars are timed."""

from __future__ import annotations

from functools import cache

from txray.corpus import Corpus, Document, demo_corpus


@cache
def documents(words: int) -> tuple[Document, ...]:
    """Reviews of the embedded corpus, with tags."""
    return tuple(demo_corpus("reviews", words=words))


@cache
def corpus(words: int) -> Corpus:
    """The same as a corpus."""
    return Corpus.from_documents("benchmark", documents(words))


def large_vocabulary(size: int) -> tuple[str, ...]:
    """A vocabulary of this size that knows the words of the text."""
    known = sorted({word.lower() for document in documents(20_000) for word in document.words})
    filler = (f"filler{number}" for number in range(size))
    return tuple([*known, *filler][: size - 2])
