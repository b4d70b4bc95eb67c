"""A named, re-iterable source of documents, with a fingerprint."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from txray.corpus.document import Document
from txray.corpus.grouped import GroupFunction, grouped
from txray.corpus.kinds import KINDS
from txray.errors import CorpusError, UsageError
from txray.identity import derived, identity_of, unidentified

if TYPE_CHECKING:
    from txray.corpus.annotators.annotator import Annotator

Documents = Callable[[Counter[str]], Iterator[Document]]
"""Starts one pass over the documents; counts into its argument what it skips, by reason."""

Drafts = Callable[[Counter[str]], Iterator[Callable[[], Document]]]
"""The same, of documents that are made only when called: a shard leaves most of them unmade."""


@dataclass(frozen=True)
class Part:
    """Which part of a corpus a shard is: part `number` of `of`, counted from 1."""

    whole: Corpus
    number: int
    of: int


class Corpus:
    """A named source of documents that can be read again and again, in the same order.

    Nothing is held in memory: each `for document in corpus` reads the source afresh. `skipped` counts
    what the latest pass left out, by reason; `part` says of what larger corpus this is a shard.
    """

    def __init__(
        self,
        name: str,
        documents: Documents,
        *,
        fingerprint: Callable[[], str],
        drafts: Drafts | None = None,
    ) -> None:
        """Wrap a source.

        Args:
            name: shown in manifests and captions, e.g. `wikitext/train`.
            documents: starts one pass; it is given a counter for what it skips.
            fingerprint: hash of the content and of every option that changes it; called at most once.
            drafts: starts a pass over the same documents in the same order, with the same ones skipped, of which each
                costs little until it is made; where a source has such.
        """
        self.name = name
        self.skipped: Counter[str] = Counter()
        self.part: Part | None = None
        self._documents = documents
        self._fingerprint = fingerprint
        self._drafts = drafts

    @classmethod
    def of_drafts(cls, name: str, drafts: Drafts, *, fingerprint: Callable[[], str]) -> Corpus:
        """A source of documents that are made one by one, so that shards need not make those of others.

        Args:
            name, fingerprint: see the class.
            drafts: starts one pass.
        """
        return cls(
            name,
            lambda skipped: (make() for make in drafts(skipped)),
            fingerprint=fingerprint,
            drafts=drafts,
        )

    def __iter__(self) -> Iterator[Document]:
        self.skipped = Counter()
        empty = True
        for document in self._documents(self.skipped):
            empty = False
            yield document
        if empty:
            skipped = f" ({sum(self.skipped.values())} documents skipped)" if self.skipped else ""
            raise CorpusError(f"corpus {self.name!r}: no documents{skipped}; check the path and the split")

    def __repr__(self) -> str:
        return f"Corpus({self.name!r})"

    def is_empty(self) -> bool:
        """Whether there is no document at all; reads no further than the first one."""
        return next(self._documents(Counter()), None) is None

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the content and of the reading options; equal text gives an equal fingerprint."""
        return self._fingerprint()

    @classmethod
    def from_documents(cls, name: str, documents: Iterable[Document]) -> Corpus:
        """A corpus of documents that are already in memory."""
        held = tuple(documents)
        return cls(name, lambda skipped: iter(held), fingerprint=lambda: _hash_documents(held))

    def take(self, words: int) -> Corpus:
        """The first `words` words; the last document is cut to fit."""
        self._require_some("words", words)

        def documents(skipped: Counter[str]) -> Iterator[Document]:
            left = words
            for document in self._documents(skipped):
                cut = document.cut(left)
                yield cut
                left -= len(cut.words)
                if left == 0:
                    return

        return Corpus(self.name, documents, fingerprint=lambda: derived(self.fingerprint, "take", words))

    def first(self, documents: int) -> Corpus:
        """The first so many documents."""
        self._require_some("documents", documents)
        return Corpus(
            self.name,
            lambda skipped: islice(self._documents(skipped), documents),
            fingerprint=lambda: derived(self.fingerprint, "first", documents),
        )

    def shard(self, number: int, of: int) -> Corpus:
        """Every `of`-th document, beginning with the `number`-th: one part of several that are read elsewhere.

        Args:
            number: 1 to `of`.
            of: parts in all; together they hold every document once.

        Raises:
            UsageError: no such part.
        """
        if not 1 <= number <= of:
            raise UsageError(f"corpus {self.name!r}: shard {number}/{of}; give 1/{of} to {of}/{of}")

        def documents(skipped: Counter[str]) -> Iterator[Document]:
            if self._drafts is None:
                return islice(self._documents(skipped), number - 1, None, of)
            return (make() for make in islice(self._drafts(skipped), number - 1, None, of))

        shard = Corpus(
            f"{self.name}[{number}/{of}]",
            documents,
            fingerprint=lambda: derived(self.fingerprint, "shard", number, of),
        )
        shard.part = Part(self, number, of)
        return shard

    def in_memory(self) -> Corpus:
        """The same documents, kept in memory from the first complete pass on: for text that is read many times."""
        passed: list[tuple[tuple[Document, ...], Counter[str]]] = []

        def documents(skipped: Counter[str]) -> Iterator[Document]:
            if passed:
                held, left_out = passed[0]
                skipped.update(left_out)
                yield from held
                return
            read = []
            for document in self._documents(skipped):
                read.append(document)
                yield document
            passed.append((tuple(read), skipped.copy()))

        kept = Corpus(self.name, documents, fingerprint=lambda: self.fingerprint)
        kept.part = self.part
        return kept

    def select(self, keep: Callable[[Document], bool], *, name: str) -> Corpus:
        """The documents for which `keep` holds.

        Args:
            keep: a pure function of one document; the fingerprint depends on it, see `txray.identity`.
            name: of the part, e.g. `validation`.
        """

        def documents(skipped: Counter[str]) -> Iterator[Document]:
            return (document for document in self._documents(skipped) if keep(document))

        identity = identity_of(keep)

        return Corpus(
            f"{self.name}/{name}",
            documents,
            fingerprint=lambda: derived(self.fingerprint, "select", name, identity),
        )

    def followed_by(self, other: Corpus) -> Corpus:
        """The documents of this corpus, then those of another."""

        def documents(skipped: Counter[str]) -> Iterator[Document]:
            for part in (self, other):
                yield from part._documents(skipped)

        return Corpus(
            f"{self.name}+{other.name}",
            documents,
            fingerprint=lambda: derived(self.fingerprint, "followed by", other.fingerprint),
        )

    def group_by(self, function: GroupFunction) -> Corpus:
        """Return the same documents, each with the group that a function gives it; documents of one group share a fold.

        Args:
            function: pure; gives the group of a document, such as its author or the book it is a chapter of, or None
                for a document that depends on no other. The fingerprint depends on it, see `txray.identity`.

        Raises:
            UsageError: the function cannot be called; while reading: it gave something else.

        Example:
            >>> corpus.group_by(lambda document: document.labels["book"])  # doctest: +SKIP
        """
        if not callable(function):
            raise UsageError(f"corpus {self.name!r}: group_by({function!r}); give a function of one document")

        identity = identity_of(function)

        def drafts(skipped: Counter[str]) -> Iterator[Callable[[], Document]]:
            unmade = self._drafts or _all_made(self._documents)
            return (partial(grouped, make, function) for make in unmade(skipped))

        corpus = Corpus.of_drafts(
            self.name,
            drafts,
            fingerprint=lambda: derived(self.fingerprint, "group by", identity),
        )
        if self.part is not None:
            corpus.part = Part(self.part.whole.group_by(function), self.part.number, self.part.of)
        return corpus

    def annotate(
        self, tagger: Annotator, name: str | None = None, *, cache: Path | str | None = None
    ) -> Corpus:
        """The same documents with one more annotation, computed while reading.

        Args:
            tagger: gives one value per word: a `Tagger`, one of `txray.corpus.annotators`, or your own `Annotator`.
            name: of the annotation, which replaces one of that name; by default what the annotator calls it, or `pos`
                where it does not say.
            cache: folder that keeps the values of a complete pass for the next one; none by default.

        Raises:
            UsageError: the name is that of a feature type that is no annotation; a cache for values whose annotator,
                or corpus, cannot be told apart from another.
            CorpusError: while reading: not one value for each word, or a value that is empty or holds white space.
        """
        name = getattr(tagger, "name", "pos") if name is None else name
        if name in KINDS:
            raise UsageError(
                f"corpus {self.name!r}: annotation {name!r} is a feature type of its own and would be hidden; name "
                "it otherwise"
            )
        from txray.corpus.annotated import annotated_documents

        folder = None if cache is None else Path(cache)
        if folder is not None:
            self._require_identified(name, tagger.fingerprint)

        def fingerprint() -> str:
            return derived(self.fingerprint, "annotate", name, tagger.fingerprint)

        def documents(skipped: Counter[str]) -> Iterator[Document]:
            file = None
            if folder is not None:
                self._require_identified(name, self.fingerprint)
                file = folder / f"{fingerprint()}.{name}.gz"
            return annotated_documents(self._documents(skipped), tagger, name, file)

        def drafts(skipped: Counter[str]) -> Iterator[Callable[[], Document]]:
            made = self._drafts or _all_made(self._documents)
            return (partial(_annotated, make, tagger, name) for make in made(skipped))

        # What a cache holds stands there document after document, and only a pass over all of them can fill it.
        annotated = Corpus(
            self.name, documents, fingerprint=fingerprint, drafts=drafts if folder is None else None
        )
        if self.part is not None:
            whole = self.part.whole.annotate(tagger, name, cache=cache)
            annotated.part = Part(whole, self.part.number, self.part.of)
        return annotated

    def _require_identified(self, annotation: str, fingerprint: str) -> None:
        if reason := unidentified(fingerprint):
            raise UsageError(
                f"corpus {self.name!r}, annotation {annotation!r}: its values cannot be cached, because {reason} "
                "cannot be told apart from another; say yourself what it is (annotators.words(..., version='1'), or an "
                "attribute `fingerprint`), or leave cache out"
            )

    def _require_some(self, what: str, amount: int) -> None:
        if amount < 1:
            raise UsageError(f"corpus {self.name!r}: {amount} {what} leave nothing; ask for at least 1")


def _all_made(documents: Documents) -> Drafts:
    """Drafts that are documents already."""
    return lambda skipped: (partial(_same, document) for document in documents(skipped))


def _same(document: Document) -> Document:
    return document


def _annotated(make: Callable[[], Document], tagger: Annotator, name: str) -> Document:
    from txray.corpus.annotated import annotated_document

    return annotated_document(make(), tagger, name)


def document_digest(document: Document) -> bytes:
    """32-byte hash of everything a document holds."""
    parts = (
        document.id,
        document.words,
        sorted((name, tuple(values)) for name, values in document.annotations.items()),
        sorted(document.labels.items()),
        document.sentence_starts,
        document.group,
        document.cut_from,
    )
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).digest()


def _hash_documents(documents: Iterable[Document]) -> str:
    digest = hashlib.sha256()
    for document in documents:
        digest.update(document_digest(document))
    return digest.hexdigest()
