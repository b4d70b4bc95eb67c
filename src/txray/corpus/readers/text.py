"""Plain text: a file, or a folder of `.txt` files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from txray.corpus.corpus import Corpus, LazyDocument
from txray.corpus.document import Document
from txray.corpus.readers.validate import require_choice, require_no_split
from txray.corpus.sources import (
    Source,
    content_fingerprint,
    file_source,
    kind_of,
    listed,
    skipped_files,
    without_ending,
)
from txray.corpus.splitting import TextSplitter
from txray.errors import CorpusError

UNITS = ("paragraph", "line", "file")


class Line(NamedTuple):
    """A line without the white space around it, and the white space before it as written."""

    gap: str
    text: str


Paragraph = list[Line]
"""The lines between two blank ones."""


def read_text(
    path: Path,
    split: str | None = None,
    *,
    unit: str = "paragraph",
    tokenized: bool = False,
    html: bool = False,
    group: str | None = None,
) -> Corpus:
    """Read plain UTF-8 text.

    Lines without words separate paragraphs and are not counted. Inside a paragraph a line end counts as a space,
    because running text is often wrapped. Ids are the file and the number of the first line, e.g. `notes/000017`, and
    the file alone for whole files.

    Args:
        path: a file, plain or `.gz`, or a folder whose `.txt` and `.txt.gz` files (also in folders below) are read in
            the order of their names; its other files are counted as skipped, by reason.
        split: must be None: the format has no splits.
        unit: a document is a `paragraph`, a `line` or a `file`.
        tokenized: the text is already split into words by spaces and is not tokenised again; then a line end is also a
            sentence end.
        html: the text is HTML: `<br />` becomes a line end and entities become characters; other tags stay.
        group: `file`: the documents of one file share a fold, for a folder with a book or a letter in each file. By
            default each document is on its own.

    Raises:
        CorpusError: nothing readable at `path`.
        UsageError: a split, or an option that does not exist.
    """
    require_choice("unit", unit, UNITS)
    by_file = group is not None and require_choice("group", group, ("file",)) == "file"
    require_no_split(path, split, "text")
    sources, skipped_before = _find(path)
    splitter = TextSplitter(tokenized=tokenized, html=html)

    def text_of(paragraphs: list[Paragraph]) -> str:
        # A line end separates sentences only in text that is already tokenized; otherwise it counts as a space.
        line_end = "\n" if tokenized else " "
        return "\n".join(line_end.join(line.text for line in lines) for lines in paragraphs)

    def document(name: str, paragraphs: list[Paragraph], id_prefix: str) -> Document:
        words, starts, spacing = splitter(text_of(paragraphs))
        document = Document(
            id=name,
            words=words,
            sentence_starts=starts,
            group=id_prefix if by_file else None,
            spacing=spacing,
        )
        # In HTML, a line end means no more than a space.
        return document if html else _with_gaps(document, [line for lines in paragraphs for line in lines])

    def lazy_documents(skipped: Counter[str]) -> Iterator[LazyDocument]:
        skipped.update(skipped_before)
        for source in sources:
            for name, paragraphs in _units(source, unit):
                if splitter.has_words(text_of(paragraphs)):
                    yield partial(document, name, paragraphs, source.id_prefix)
                else:
                    skipped["no words"] += 1

    return Corpus.from_lazy_documents(
        f"text/{without_ending(path.name, '.gz')}",
        lazy_documents,
        fingerprint=lambda: content_fingerprint(
            "text", (source.digest() for source in sources), unit=unit, rules=splitter.rules, group=group
        ),
    )


def _find(path: Path) -> tuple[list[Source], Counter[str]]:
    """Return the texts, and the number of other files in the folder, by the reason why they are skipped."""
    if kind_of(path) == "file":
        return [file_source(path).check()], Counter()
    files = sorted(listed(path, "**/*.txt", "**/*.txt.gz"))
    if not files:
        raise CorpusError(f"{path}: holds no .txt or .txt.gz file; give a folder with some, or one file")
    file_of_prefix: dict[str, Path] = {}
    for file in files:
        id_prefix = without_ending(file.relative_to(path).as_posix(), ".gz", ".txt")
        if id_prefix in file_of_prefix:
            raise CorpusError(
                f"{path}: holds {file_of_prefix[id_prefix].name} and {file.name}; keep one, their documents share ids"
            )
        file_of_prefix[id_prefix] = file
    sources = [file_source(file, id_prefix) for id_prefix, file in file_of_prefix.items()]
    return sources, skipped_files(path, "**/*", files)


def _with_gaps(document: Document, lines: Sequence[Line]) -> Document:
    """Return a document of lines joined by one character each, with the white space between them as written."""
    written = "".join(gap + text for gap, text in lines)
    gaps, sizes = (np.array([len(line[part]) for line in lines]) for part in (0, 1))
    in_written = np.cumsum(gaps + sizes) - sizes
    in_joined = np.cumsum(sizes + 1) - sizes - 1
    line_of_word = np.searchsorted(in_joined, document.offsets[:, 0], side="right") - 1
    bounds = document.offsets + (in_written - in_joined)[line_of_word, None]
    ends = [0, *bounds[:-1, 1].tolist()]
    spacing = tuple(written[end:start] for end, start in zip(ends, bounds[:, 0].tolist(), strict=True))
    return replace(document, spacing=spacing)


def _units(source: Source, unit: str) -> Iterator[tuple[str, list[Paragraph]]]:
    """Yield the id and the paragraphs of each document."""
    if unit == "file":
        yield source.id_prefix, [lines for _, lines in _paragraphs(source)]
        return
    for first, lines in _paragraphs(source):
        if unit == "paragraph":
            yield f"{source.id_prefix}/{first:06d}", [[_indented(lines[0]), *lines[1:]]]
        else:
            for number, line in enumerate(lines, first):
                yield f"{source.id_prefix}/{number:06d}", [[_indented(line)]]


def _paragraphs(source: Source) -> Iterator[tuple[int, Paragraph]]:
    """Yield the lines between two blank ones, after the number of the first."""
    first, lines, gap = 0, Paragraph(), ""
    for number, line in source.lines():
        if text := line.strip():
            first = first if lines else number
            before, _, after = line.partition(text)
            lines.append(Line(gap + before, text))
            gap = after
            continue
        gap += line
        if lines:
            yield first, lines
            lines = []
    if lines:
        yield first, lines


def _indented(line: Line) -> Line:
    """Return the first line of a document, of whose gap only the indentation belongs to it."""
    return Line(line.gap.rpartition("\n")[2], line.text)
