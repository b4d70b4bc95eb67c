"""Annotate documents while reading, and cache the values in a file for the next pass."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from txray.corpus.document import Document
from txray.errors import CorpusError, in_one_line
from txray.files import atomic_file
from txray.progress import progress

_FORMAT = "txray annotation 1"


def annotated_documents(
    documents: Iterator[Document],
    annotator: Callable[[Document], Iterable[str]],
    name: str,
    file: Path | None,
) -> Iterator[Document]:
    """Yield the documents with one more annotation.

    With a `file`, a complete pass writes the values to it, and the next pass reads them instead of computing them; an
    interrupted pass writes nothing. The file is gzip-compressed text: a header line, then one line per document, its
    values separated by spaces. A file that does not fit the documents is an error and never repaired silently: it is
    damaged, or belongs to other documents, so that the values yielded before were wrong, too.

    Args:
        documents: in the order of the corpus.
        annotator: returns one value per word of a document, without white space.
        name: of the annotation; replaces one of the same name.
        file: the cache, named by corpus and annotator. None for no cache.

    Raises:
        CorpusError: the cache is damaged or belongs to other documents, or the annotator did not return one value
            without white space per word.
        OutputError: the cache cannot be written.
    """
    if file is not None and file.exists():
        yield from _from_cache(documents, name, file)
        return
    with ExitStack() as stack:
        cache = None
        if file is not None:
            # entered first, so that the compressed stream is closed before the file is renamed
            raw = stack.enter_context(stack.enter_context(atomic_file(file)).open("wb"))
            # without a time stamp: the same values give the same bytes
            packed = stack.enter_context(gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0))
            cache = stack.enter_context(io.TextIOWrapper(packed, encoding="utf-8", newline="\n"))
            cache.write(_header(name))
        advance = stack.enter_context(progress(f"annotate {name!r}"))
        for document in documents:
            annotated = annotated_document(document, annotator, name)
            if cache is not None:
                cache.write(" ".join(annotated.annotations[name]) + "\n")
            advance(len(document.words))
            yield annotated


def _are_words(values: tuple[str, ...]) -> bool:
    """Return whether all are strings, none of them empty or with white space."""
    try:
        return tuple(" ".join(values).split()) == values
    except TypeError:
        return False


def _complaint(document: Document, name: str, values: tuple[object, ...]) -> str:
    """Return a message about values that are not one word for each word."""
    problem = f"{len(values)} values for {len(document.words)} words"
    for position, value in enumerate(values[: len(document.words)]):
        if not isinstance(value, str) or value.split() != [value]:
            problem = f"{value!r:.60} for word {position}, {document.words[position]!r:.60}"
            break
    return (
        f"document {document.id!r}, annotation {name!r}: the annotator gave {problem}; it must give one value per "
        "word, without white space"
    )


def annotated_document(
    document: Document, annotator: Callable[[Document], Iterable[str]], name: str
) -> Document:
    """Return a document with one more annotation.

    Raises:
        CorpusError: the annotator did not return one value without white space per word.
    """
    values = tuple(annotator(document))
    if len(values) != len(document.words) or not _are_words(values):
        raise CorpusError(_complaint(document, name, values))
    return _with(document, name, values)


def _from_cache(documents: Iterator[Document], name: str, file: Path) -> Iterator[Document]:
    lines = _lines(file)
    if next(lines, "") != _header(name):
        raise CorpusError(f"{file}: is not a cache of annotation {name!r}; delete it and read again")
    for document in documents:
        values = tuple(next(lines, "").split())
        if len(values) != len(document.words):
            raise CorpusError(
                f"{file}: holds {len(values)} values for document {document.id!r} of {len(document.words)} "
                "words, so it belongs to other documents; delete it and read again"
            )
        yield _with(document, name, values)
    if next(lines, None) is not None:
        raise CorpusError(f"{file}: holds more documents than the corpus; delete it and read again")


def _header(name: str) -> str:
    return json.dumps({"format": _FORMAT, "annotation": name}) + "\n"


def _lines(file: Path) -> Iterator[str]:
    try:
        with gzip.open(file, "rt", encoding="utf-8", newline="\n") as stream:
            yield from stream
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise CorpusError(f"{file}: is damaged ({in_one_line(error)}); delete it and read again") from error


def _with(document: Document, name: str, values: tuple[str, ...]) -> Document:
    return replace(document, annotations={**document.annotations, name: values})
