"""A named, re-iterable source of documents, with a fingerprint."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from txray.checks import is_integer
from txray.corpus.annotation_cache import annotated_document, annotated_documents
from txray.corpus.document import RESERVED_NAMES, Document
from txray.errors import CorpusError, UsageError
from txray.identity import derived, identity_of, unidentified

if TYPE_CHECKING:
    from txray.corpus.annotators.annotator import Annotator

Documents = Callable[[Counter[str]], Iterator[Document]]
"""Starts a pass over the documents, and counts what it skips in its argument, by reason."""

LazyDocument = Callable[[], Document]
"""Builds a document."""

LazyDocuments = Callable[[Counter[str]], Iterator[LazyDocument]]
"""Starts a pass over documents that are built only when called, so that a shard does not build those of others."""

GroupFunction = Callable[[Document], str | int | None]
"""Returns the group of a document, or None if it depends on no other."""


@dataclass(frozen=True)
class ShardInfo:
    """Position of a shard: number `number` of `n_shards` of the corpus `whole`, counted from 1."""

    whole: Corpus
    number: int
    n_shards: int


class Corpus:
    """A named source of documents that can be read again and again, in the same order.

    Documents are not kept in memory: each `for document in corpus` reads the source again.

    Attributes:
        name: shown in manifests and captions.
        skipped: reason -> number of documents that the latest pass skipped.
        shard_info: the larger corpus of which this is a shard; None for a whole corpus.
    """

    def __init__(
        self,
        name: str,
        documents: Documents,
        *,
        fingerprint: Callable[[], str],
        lazy_documents: LazyDocuments | None = None,
    ) -> None:
        """Wrap a source.

        Args:
            name: e.g. `wikitext/train`.
            documents: starts a pass; called with a counter for what it skips.
            fingerprint: returns a hash of the content and of every option that changes it; called at most once.
            lazy_documents: starts a pass over the same documents in the same order, if they can be built one by one.
        """
        self.name = name
        self.skipped: Counter[str] = Counter()
        self.shard_info: ShardInfo | None = None
        self._documents = documents
        self._fingerprint = fingerprint
        self._lazy_documents = lazy_documents

    @classmethod
    def from_documents(cls, name: str, documents: Iterable[Document]) -> Corpus:
        """Return a corpus of documents that are already in memory."""
        in_memory = tuple(documents)
        return cls(name, lambda skipped: iter(in_memory), fingerprint=lambda: _hash_documents(in_memory))

    @classmethod
    def from_lazy_documents(
        cls, name: str, lazy_documents: LazyDocuments, *, fingerprint: Callable[[], str]
    ) -> Corpus:
        """Return a corpus of documents that are built one by one; arguments as for the class."""
        return cls(
            name,
            lambda skipped: (build() for build in lazy_documents(skipped)),
            fingerprint=fingerprint,
            lazy_documents=lazy_documents,
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

    def __add__(self, other: Corpus) -> Corpus:
        """Return the documents of this corpus, then those of another; see `concat`."""
        return self.concat(other) if isinstance(other, Corpus) else NotImplemented

    def is_empty(self) -> bool:
        """Return whether there is no document; reads at most one."""
        return next(self._documents(Counter()), None) is None

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the content and of the reading options; equal texts have equal fingerprints."""
        return self._fingerprint()

    def take_words(self, words: int) -> Corpus:
        """Return the first `words` words; the last document is cut to fit.

        Raises:
            UsageError: `words` is less than 1 or not a whole number.
        """
        self._require_positive("words", words)

        def documents(skipped: Counter[str]) -> Iterator[Document]:
            remaining = words
            for document in self._documents(skipped):
                cut = document.cut(remaining)
                yield cut
                remaining -= len(cut.words)
                if remaining == 0:
                    return

        return Corpus(self.name, documents, fingerprint=lambda: derived(self.fingerprint, "take", words))

    def head(self, documents: int) -> Corpus:
        """Return the first `documents` documents.

        Raises:
            UsageError: `documents` is less than 1 or not a whole number.
        """
        self._require_positive("documents", documents)
        return Corpus(
            self.name,
            lambda skipped: islice(self._documents(skipped), documents),
            fingerprint=lambda: derived(self.fingerprint, "first", documents),
        )

    def shard(self, number: int, n_shards: int) -> Corpus:
        """Return every `n_shards`-th document, beginning with the `number`-th.

        Args:
            number: 1 to `n_shards`.
            n_shards: number of shards, which together hold every document once.

        Raises:
            UsageError: no such shard.
        """
        if not 1 <= number <= n_shards:
            raise UsageError(
                f"corpus {self.name!r}: shard {number}/{n_shards}; give 1/{n_shards} to {n_shards}/{n_shards}"
            )

        def documents(skipped: Counter[str]) -> Iterator[Document]:
            if self._lazy_documents is None:
                return islice(self._documents(skipped), number - 1, None, n_shards)
            return (build() for build in islice(self._lazy_documents(skipped), number - 1, None, n_shards))

        shard = Corpus(
            f"{self.name}[{number}/{n_shards}]",
            documents,
            fingerprint=lambda: derived(self.fingerprint, "shard", number, n_shards),
        )
        shard.shard_info = ShardInfo(self, number, n_shards)
        return shard

    def cache(self) -> Corpus:
        """Return the same documents, kept in memory after the first complete pass."""
        passes: list[tuple[tuple[Document, ...], Counter[str]]] = []

        def documents(skipped: Counter[str]) -> Iterator[Document]:
            if passes:
                in_memory, skipped_before = passes[0]
                skipped.update(skipped_before)
                yield from in_memory
                return
            read = []
            for document in self._documents(skipped):
                read.append(document)
                yield document
            passes.append((tuple(read), skipped.copy()))

        cached = Corpus(self.name, documents, fingerprint=lambda: self.fingerprint)
        cached.shard_info = self.shard_info
        return cached

    def select(self, keep: Callable[[Document], bool], *, name: str) -> Corpus:
        """Return the documents for which `keep` returns True.

        Args:
            keep: a pure function of one document; the fingerprint depends on it, see `txray.identity`.
            name: of the selection, e.g. `validation`; appended to the name of the corpus.
        """

        def documents(skipped: Counter[str]) -> Iterator[Document]:
            return (document for document in self._documents(skipped) if keep(document))

        identity = identity_of(keep)

        return Corpus(
            f"{self.name}/{name}",
            documents,
            fingerprint=lambda: derived(self.fingerprint, "select", name, identity),
        )

    def concat(self, other: Corpus) -> Corpus:
        """Return the documents of this corpus, then those of another."""

        def documents(skipped: Counter[str]) -> Iterator[Document]:
            for corpus in (self, other):
                yield from corpus._documents(skipped)

        return Corpus(
            f"{self.name}+{other.name}",
            documents,
            fingerprint=lambda: derived(self.fingerprint, "followed by", other.fingerprint),
        )

    def group_by(self, function: GroupFunction) -> Corpus:
        """Return the same documents in other groups; documents of one group share a fold.

        Args:
            function: pure; returns the group of a document, such as its author or its book, or None if it depends on
                no other document. The fingerprint depends on it, see `txray.identity`.

        Raises:
            UsageError: the function cannot be called; while reading: it returned something else.

        Example:
            >>> corpus.group_by(lambda document: document.labels["book"])  # doctest: +SKIP
        """
        if not callable(function):
            raise UsageError(f"corpus {self.name!r}: group_by({function!r}); give a function of one document")

        identity = identity_of(function)

        def lazy_documents(skipped: Counter[str]) -> Iterator[LazyDocument]:
            return (partial(_grouped, build, function) for build in self._one_by_one()(skipped))

        corpus = Corpus.from_lazy_documents(
            self.name,
            lazy_documents,
            fingerprint=lambda: derived(self.fingerprint, "group by", identity),
        )
        if (info := self.shard_info) is not None:
            corpus.shard_info = replace(info, whole=info.whole.group_by(function))
        return corpus

    def annotate(
        self, annotator: Annotator, name: str | None = None, *, cache: Path | str | None = None
    ) -> Corpus:
        """Return the same documents with one more annotation, computed while reading.

        Args:
            annotator: returns one value per word: a `Tagger`, one of `txray.corpus.annotators`, or your own
                `Annotator`.
            name: of the annotation, which replaces one of that name; by default the annotator's `name`, or `pos` if it
                has none.
            cache: folder that keeps the values of a complete pass for the next one; none by default.

        Raises:
            UsageError: the name is that of a feature type that is not an annotation; a cache for values whose
                annotator, or corpus, cannot be told apart from another.
            CorpusError: while reading: not one value for each word, or a value that is empty or holds white space.
        """
        name = getattr(annotator, "name", "pos") if name is None else name
        if name in RESERVED_NAMES:
            raise UsageError(
                f"corpus {self.name!r}: annotation {name!r} is a feature type of its own and would be hidden; choose "
                "another name"
            )
        folder = None if cache is None else Path(cache)
        if folder is not None:
            self._require_identified(name, annotator.fingerprint)

        def fingerprint() -> str:
            return derived(self.fingerprint, "annotate", name, annotator.fingerprint)

        def documents(skipped: Counter[str]) -> Iterator[Document]:
            file = None
            if folder is not None:
                self._require_identified(name, self.fingerprint)
                file = folder / f"{fingerprint()}.{name}.gz"
            return annotated_documents(self._documents(skipped), annotator, name, file)

        def lazy_documents(skipped: Counter[str]) -> Iterator[LazyDocument]:
            return (partial(_annotated, build, annotator, name) for build in self._one_by_one()(skipped))

        # A cache holds the values document after document, and only a pass over all of them can fill it.
        annotated = Corpus(
            self.name,
            documents,
            fingerprint=fingerprint,
            lazy_documents=lazy_documents if folder is None else None,
        )
        if (info := self.shard_info) is not None:
            annotated.shard_info = replace(info, whole=info.whole.annotate(annotator, name, cache=cache))
        return annotated

    def _one_by_one(self) -> LazyDocuments:
        """Return the lazy documents, or functions that return documents already built."""
        return self._lazy_documents or (
            lambda skipped: (partial(_same, document) for document in self._documents(skipped))
        )

    def _require_identified(self, annotation: str, fingerprint: str) -> None:
        if reason := unidentified(fingerprint):
            raise UsageError(
                f"corpus {self.name!r}, annotation {annotation!r}: its values cannot be cached, because {reason} "
                "cannot be told apart from another; identify it yourself (annotators.words(..., version='1'), or an "
                "attribute `fingerprint`), or leave cache out"
            )

    def _require_positive(self, option: str, number: int) -> None:
        if not is_integer(number) or number < 1:
            raise UsageError(f"corpus {self.name!r}: {option}={number!r}; give a whole number, at least 1")


def _same(document: Document) -> Document:
    return document


def _annotated(build: LazyDocument, annotator: Annotator, name: str) -> Document:
    return annotated_document(build(), annotator, name)


def _grouped(build: LazyDocument, function: GroupFunction) -> Document:
    document = build()
    group = function(document)
    if group is not None and not isinstance(group, str) and not is_integer(group):
        raise UsageError(
            f"group_by: the function gave {type(group).__name__} {str(group)[:40]!r} for document {document.id!r}; it "
            "must give a string, a whole number or None"
        )
    return replace(document, group=None if group is None else str(group))


def document_digest(document: Document) -> bytes:
    """Return a 32-byte hash of everything that a document holds."""
    parts: tuple[object, ...] = (
        document.id,
        document.words,
        sorted((name, tuple(values)) for name, values in document.annotations.items()),
        sorted(document.labels.items()),
        document.sentence_starts,
        document.group,
        document.cut_from,
    )
    if document.spacing is not None:
        parts = (*parts, document.spacing)
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).digest()


def _hash_documents(documents: Iterable[Document]) -> str:
    digest = hashlib.sha256()
    for document in documents:
        digest.update(document_digest(document))
    return digest.hexdigest()
