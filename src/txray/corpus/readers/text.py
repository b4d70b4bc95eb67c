"""Plain text: a file, or a folder of `.txt` files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from txray.corpus.corpus import Corpus
from txray.corpus.document import Document
from txray.corpus.readers.choices import choice, no_split
from txray.corpus.sources import (
    Source,
    content_fingerprint,
    file_source,
    kind_of,
    left_out,
    listed,
    without_ending,
)
from txray.corpus.splitting import TextSplitter
from txray.errors import CorpusError

UNITS = ("paragraph", "line", "file")

Paragraph = list[str]
"""Its lines, without the spaces around them."""


def read_text(
    path: Path,
    split: str | None = None,
    *,
    unit: str = "paragraph",
    tokenized: bool = False,
    html: bool = False,
    group: str | None = None,
) -> Corpus:
    """Plain UTF-8 text.

    Lines without words separate paragraphs and are not counted. Inside a paragraph a line end is a mere
    space, because running text is often wrapped. Ids are the file and the number of the first line, e.g.
    `notes/000017`, for whole files the file alone.

    Args:
        path: a file, plain or `.gz`, or a folder whose `.txt` and `.txt.gz` files (also in folders below) are
            read in the order of their names; its other files are counted as skipped, by reason.
        split: must be None: there are no splits.
        unit: what a document is: `paragraph`, `line` or `file`.
        tokenized: the text is already split into words by spaces and is not tokenised again; then a line end
            is also a sentence end.
        html: the text is HTML: `<br />` becomes a line end and entities become characters; other tags stay.
        group: `file`: the documents of one file share a fold, for a folder with a book or a letter in each file. By
            default each document is on its own.

    Raises:
        CorpusError: nothing readable there.
        UsageError: a split, or an option that does not exist.
    """
    choice("unit", unit, UNITS)
    by_file = group is not None and choice("group", group, ("file",)) == "file"
    no_split(path, split, "text")
    sources, skipped_files = _find(path)
    splitter = TextSplitter(tokenized=tokenized, html=html)

    def text_of(paragraphs: list[Paragraph]) -> str:
        # A line end separates sentences only in text that is tokenized already; otherwise it is a mere space.
        return "\n".join(("\n" if tokenized else " ").join(lines) for lines in paragraphs)

    def document(name: str, paragraphs: list[Paragraph], stem: str) -> Document:
        words, starts = splitter(text_of(paragraphs))
        return Document(id=name, words=words, sentence_starts=starts, group=stem if by_file else None)

    def drafts(skipped: Counter[str]) -> Iterator[Callable[[], Document]]:
        skipped.update(skipped_files)
        for source in sources:
            for name, paragraphs in _units(source, unit):
                if splitter.has_words(text_of(paragraphs)):
                    yield partial(document, name, paragraphs, source.stem)
                else:
                    skipped["no words"] += 1

    return Corpus.of_drafts(
        f"text/{without_ending(path.name, '.gz')}",
        drafts,
        fingerprint=lambda: content_fingerprint(
            "text", (source.part() for source in sources), unit=unit, rules=splitter.rules, group=group
        ),
    )


def _find(path: Path) -> tuple[list[Source], Counter[str]]:
    """Return the texts, and the number of other files in the folder, by the reason for which they are not read."""
    if kind_of(path) == "file":
        return [file_source(path).check()], Counter()
    files = sorted([*listed(path, "**/*.txt"), *listed(path, "**/*.txt.gz")])
    if not files:
        raise CorpusError(f"{path}: holds no .txt or .txt.gz file; give a folder with some, or one file")
    stems: dict[str, Path] = {}
    for file in files:
        stem = without_ending(file.relative_to(path).as_posix(), ".gz", ".txt")
        if stem in stems:
            raise CorpusError(
                f"{path}: holds {stems[stem].name} and {file.name}; keep one, their documents share ids"
            )
        stems[stem] = file
    return [file_source(file, stem) for stem, file in stems.items()], left_out(path, "**/*", files)


def _units(source: Source, unit: str) -> Iterator[tuple[str, list[Paragraph]]]:
    """The id and the text of each document."""
    if unit == "file":
        yield source.stem, [lines for _, lines in _paragraphs(source)]
        return
    for first, lines in _paragraphs(source):
        if unit == "paragraph":
            yield f"{source.stem}/{first:06d}", [lines]
        else:
            for number, line in enumerate(lines, first):
                yield f"{source.stem}/{number:06d}", [[line]]


def _paragraphs(source: Source) -> Iterator[tuple[int, Paragraph]]:
    """The number of the first line, and the lines between two blank ones."""
    first, held = 0, Paragraph()
    for number, line in source.lines():
        if text := line.strip():
            first = first if held else number
            held.append(text)
        elif held:
            yield first, held
            held = []
    if held:
        yield first, held
