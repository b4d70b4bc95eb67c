"""WikiText: Wikipedia paragraphs, already split into words."""

from __future__ import annotations

import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from txray.corpus.archives import ZIP_MAGIC, reading
from txray.corpus.corpus import Corpus
from txray.corpus.document import Document
from txray.corpus.readers.parquet import TableLines, split_of_table
from txray.corpus.readers.validate import known_split, require_choice, require_split_in_name
from txray.corpus.sources import (
    Source,
    content_fingerprint,
    file_source,
    is_system_file,
    kind_of,
    listed,
    zip_source,
)
from txray.corpus.tokenize import sentence_starts
from txray.errors import CorpusError, UsageError

SPLITS = {"train": "train", "valid": "valid", "test": "test", "validation": "valid"}
VERSIONS = ("tokens", "raw")

_OFFICIAL = re.compile(r"wiki\.(?P<split>train|valid|test)\.(?P<version>tokens|raw)(?:\.gz)?", re.IGNORECASE)
_RESTORED = {"@-@": "-", "@,@": ",", "@.@": "."}
_HEADING = {"section": "heading"}
_PARAGRAPH = {"section": "paragraph"}


def read_wikitext(
    path: Path,
    split: str | None = None,
    *,
    headings: str = "keep",
    markup: str = "keep",
    version: str | None = None,
) -> Corpus:
    """Read WikiText-2 or WikiText-103, tokens or raw version.

    Each line with words is a document, split at spaces. So is a heading, ` = Title = `; the label `section` is
    `heading` or `paragraph`. Lines without words separate documents and are not counted. `<unk>` is a word. Ids are the
    split and the line number, e.g. `wiki/train/000123`. Sentence starts follow
    `txray.corpus.tokenize.sentence_starts`. The group of a document is its article, which begins with a heading of one
    `=`, such as `wiki/train/000002`: paragraphs of one article share a fold.

    Args:
        path: folder or zip that holds `wiki.{train,valid,test}.{tokens,raw}`, at its top or one folder
            below, plain or `.gz`; one file of such lines; or a folder of Parquet files with a line in each row, as the
            hub of Hugging Face has it.
        split: `train`, `valid` (or `validation`) or `test`; needed for a folder or a zip.
        headings: `keep`, or `skip` (counted as skipped, reason `heading`).
        markup: `keep`, or `restore`: the words `@-@`, `@,@`, `@.@` become `-`, `,`, `.`.
        version: `tokens` or `raw`; needed only if both exist.

    Raises:
        CorpusError: nothing readable at `path`.
        UsageError: a split or option that does not exist.
    """
    skip_headings = require_choice("headings", headings, ("keep", "skip")) == "skip"
    restore = require_choice("markup", markup, ("keep", "restore")) == "restore"
    if version is not None:
        require_choice("version", version, VERSIONS)
    source = _find(path, split, version).check()

    def documents(skipped: Counter[str]) -> Iterator[Document]:
        article = None
        for number, line in source.lines():
            words = line.split()
            if not words:
                continue
            heading = _is_heading(words)
            if article is None or (heading and words[1] != "="):
                article = f"{source.id_prefix}/{number:06d}"
            if heading and skip_headings:
                skipped["heading"] += 1
                continue
            if restore and "@" in line:
                words = [_RESTORED.get(word, word) for word in words]
            yield Document(
                id=f"{source.id_prefix}/{number:06d}",
                words=tuple(words),
                labels=_HEADING if heading else _PARAGRAPH,
                sentence_starts=sentence_starts(words),
                group=article,
            )

    return Corpus(
        f"wikitext/{source.id_prefix.removeprefix('wiki/')}",
        documents,
        fingerprint=lambda: content_fingerprint(
            "wikitext", [source.digest()], headings=headings, markup=markup
        ),
    )


def _is_heading(words: Sequence[str]) -> bool:
    """Return whether the words have the same number of `=` on both sides."""
    if words[0] != "=" or words[-1] != "=":
        return False
    level = next((position for position, word in enumerate(words) if word != "="), len(words))
    return len(words) > 2 * level and all(word == "=" for word in words[-level:]) and words[-level - 1] != "="


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An official file: its path inside the folder or archive, and a function that opens it."""

    inside: PurePosixPath
    split: str
    version: str
    source: Callable[[], Source]

    @classmethod
    def of(cls, inside: str, source: Callable[[str], Source]) -> _Candidate | None:
        path = PurePosixPath(inside)
        match = _OFFICIAL.fullmatch(path.name)
        if match is None or len(path.parts) > 2 or is_system_file(path):
            return None
        split, version = match["split"].lower(), match["version"].lower()
        return cls(path, split, version, lambda: source(f"wiki/{split}"))


def _find(path: Path, split: str | None, version: str | None) -> Source | TableLines:
    if kind_of(path) == "folder":
        files = listed(path, "wiki.*", "*/wiki.*")
        if not files and (tables := listed(path, "**/*.parquet")):
            return _of_tables(path, split, tables)
        candidates = [
            _Candidate.of(file.relative_to(path).as_posix(), partial(file_source, file)) for file in files
        ]
        return _choose(path, split, version, candidates)
    with reading(str(path), CorpusError), path.open("rb") as stream:
        is_zip = stream.read(4) in ZIP_MAGIC
    if is_zip:
        with reading(str(path), CorpusError), zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        candidates = [_Candidate.of(member.filename, partial(zip_source, path, member)) for member in members]
        return _choose(path, split, version, candidates)
    require_split_in_name(path, split, SPLITS)
    official = _OFFICIAL.fullmatch(path.name)
    return file_source(path, f"wiki/{official['split'].lower()}" if official else None)


def _of_tables(path: Path, split: str | None, tables: Sequence[Path]) -> TableLines:
    """Return the lines of a split in the form of the Hugging Face hub: one row each, in the column `text`."""
    wanted = known_split(path, split, SPLITS)
    for name in (name for name, known in SPLITS.items() if known == wanted):
        if any(split_of_table(table) == name for table in tables):
            return TableLines(path, name, f"wiki/{wanted}")
    raise CorpusError(
        f"{path}: holds no Parquet file named like {wanted}-00000-of-00001.parquet; give the WikiText folder, its zip, "
        "or one file of it"
    )


def _choose(
    path: Path, split: str | None, version: str | None, candidates: Sequence[_Candidate | None]
) -> Source:
    wanted = known_split(path, split, SPLITS)
    matching = [one for one in candidates if one and one.split == wanted and version in (None, one.version)]
    if not matching:
        raise CorpusError(
            f"{path}: holds no wiki.{wanted}.{version or 'tokens'}, .raw or .gz of it; give the WikiText "
            "folder, its zip, or one file of it"
        )
    if len({one.version for one in matching}) > 1:
        raise UsageError(
            f"{path}: holds the tokens and the raw version; choose one with version='tokens' or 'raw'"
        )
    plain = [one for one in matching if one.inside.suffix.lower() != ".gz"] or matching
    if len(plain) > 1:
        raise UsageError(
            f"{path}: holds {' and '.join(str(one.inside) for one in plain)}; name one of the folders"
        )
    return plain[0].source()
