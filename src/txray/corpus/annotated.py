"""One more annotation while reading, and a file that keeps it for the next pass."""

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
from txray.errors import CorpusError
from txray.files import atomic_file
from txray.progress import progress

_FORMAT = "txray annotation 1"


def annotated_documents(
    documents: Iterator[Document],
    tagger: Callable[[Document], Iterable[str]],
    name: str,
    file: Path | None,
) -> Iterator[Document]:
    """Give each document one more annotation.

    With a `file`, a pass that reached the last document leaves the values there, and the next pass reads
    them instead of computing them; a pass that was broken off leaves nothing. The file is gzip-compressed
    text: a line that says what it is, then one line per document, its values separated by spaces. A file
    that does not fit the documents is an error, never repaired silently: either it is damaged, or the
    documents are not those it was made from, and then values given before this was noticed were wrong too.

    Args:
        documents: in the order of the corpus.
        tagger: gives one value per word of a document, without white space.
        name: of the annotation; replaces one of the same name.
        file: the cache; its name must tell corpus and tagger apart. None for no cache.

    Raises:
        CorpusError: the cache is damaged or belongs to other documents, or the tagger gave values that are
            not one word for each word.
        OutputError: the cache cannot be written.
    """
    if file is not None and file.exists():
        return _from_cache(documents, name, file)
    return _computed(documents, tagger, name, file)


def _computed(
    documents: Iterator[Document],
    tagger: Callable[[Document], Iterable[str]],
    name: str,
    file: Path | None,
) -> Iterator[Document]:
    with ExitStack() as stack:
        cache = None
        if file is not None:
            # entered first, so that the compressed stream is closed before the file gets its name
            raw = stack.enter_context(stack.enter_context(atomic_file(file)).open("wb"))
            # without a time stamp: the same values give the same bytes
            packed = stack.enter_context(gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0))
            cache = stack.enter_context(io.TextIOWrapper(packed, encoding="utf-8", newline="\n"))
            cache.write(_header(name))
        advance = stack.enter_context(progress(f"annotate {name!r}"))
        for document in documents:
            annotated = annotated_document(document, tagger, name)
            if cache is not None:
                cache.write(" ".join(annotated.annotations[name]) + "\n")
            advance(len(document.words))
            yield annotated


def _are_words(values: tuple[str, ...]) -> bool:
    """Whether all are strings, none of them empty or with white space."""
    try:
        return tuple(" ".join(values).split()) == values
    except TypeError:
        return False


def _complaint(document: Document, name: str, values: tuple[object, ...]) -> str:
    """What is wrong with values that are not one word for each word."""
    found = f"{len(values)} values for {len(document.words)} words"
    for place, value in enumerate(values[: len(document.words)]):
        if not isinstance(value, str) or value.split() != [value]:
            found = f"{value!r:.60} for word {place}, {document.words[place]!r:.60},"
            break
    return (
        f"document {document.id!r}: the tagger gave {found} to annotation {name!r}; it must give one per word, without "
        "white space"
    )


def annotated_document(
    document: Document, tagger: Callable[[Document], Iterable[str]], name: str
) -> Document:
    """A document with one more annotation.

    Raises:
        CorpusError: the tagger gave values that are not one word for each word.
    """
    values = tuple(tagger(document))
    if len(values) != len(document.words) or not _are_words(values):
        raise CorpusError(_complaint(document, name, values))
    return _with(document, name, values)


def _from_cache(documents: Iterator[Document], name: str, file: Path) -> Iterator[Document]:
    lines = _lines(file)
    if next(lines, "") != _header(name):
        raise CorpusError(f"{file}: is no cache of annotation {name!r}; delete it and read again")
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
        raise CorpusError(f"{file}: is damaged ({error}); delete it and read again") from error


def _with(document: Document, name: str, values: tuple[str, ...]) -> Document:
    return replace(document, annotations={**document.annotations, name: values})
