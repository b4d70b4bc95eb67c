"""Reviews in a file each: the `aclImdb` layout, as a folder or an archive."""

from __future__ import annotations

import hashlib
import re
import sys
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePath

from txray.corpus.archives import reading, tar_members
from txray.corpus.readers.reviews import LABELS, Review
from txray.corpus.sources import (
    MAX_LINE,
    OTHER_ENDING,
    SYSTEM_FILE,
    Source,
    content_fingerprint,
    decoded,
    file_source,
    is_system_file,
    listed,
    skipped_files,
    without_ending,
)
from txray.errors import CorpusError

_NUMBERED = re.compile(r"(?P<number>[0-9]+)_(?P<rating>[0-9]+)")
_INSIDE = re.compile(r"(?:\./)?(?:aclImdb/)?(?P<split>train|test)/(?P<label>pos|neg)/(?P<file>[^/]+)")


@dataclass(frozen=True, slots=True)
class ReviewFolder:
    """`train/pos/0_9.txt` and so on below a folder; reviews come in the order of their numbers."""

    folders: dict[str, Path]
    split: str

    @classmethod
    def find(cls, path: Path, split: str) -> ReviewFolder | None:
        """Return the reviews at the top of `path`, or in `aclImdb` below it; None if the layout is another.

        Raises:
            CorpusError: the reviews of one label are missing.
        """
        base = next((base / split for base in (path, path / "aclImdb") if (base / split).is_dir()), None)
        if base is None:
            return None
        folders = {label: base / label for label in LABELS}
        for folder in folders.values():
            if not (folder.is_dir() and listed(folder, "*.txt")):
                raise CorpusError(f"{folder}: no .txt files; unpack the archive again")
        return cls(folders, split)

    def with_label(self, label: str, skipped: Counter[str]) -> Iterator[Review]:
        """Yield the reviews with this label."""
        folder = self.folders[label]
        skipped.update(skipped_files(folder, "*", listed(folder, "*.txt")))
        for source in self._sources(label):
            yield _review(source.id_prefix, source.text())

    def fingerprint(self, **options: object) -> str:
        """Return a hash of the content, in the order of the numbers, positive reviews first."""
        digests = (source.digest() for label in LABELS for source in self._sources(label))
        return content_fingerprint("imdb", digests, **options)

    def _sources(self, label: str) -> Iterator[Source]:
        for file in sorted(listed(self.folders[label], "*.txt"), key=_by_number):
            yield file_source(file, f"imdb/{self.split}/{label}/{file.stem}")


@dataclass(frozen=True, slots=True)
class ReviewArchive:
    """The `aclImdb` layout inside a `.tar` or `.tar.gz`, read from front to back without unpacking it."""

    path: Path
    split: str

    def check(self) -> ReviewArchive:
        """Check that the archive has a review of the split; return it.

        Raises:
            CorpusError: damaged, not a tar archive, or without such reviews.
        """
        with closing(self._members(Counter(), *LABELS)) as members:
            if next(members, None) is None:
                raise CorpusError(
                    f"{self.path}: holds no {self.split}/pos/*.txt or {self.split}/neg/*.txt; give the "
                    "archive of aclImdb, its folder, or a CSV with the columns text,label"
                )
        return self

    def with_label(self, label: str, skipped: Counter[str]) -> Iterator[Review]:
        """Yield the reviews with this label."""
        empty = True
        for name, location, raw in self._members(skipped, label):
            empty = False
            yield _review(name, decoded(raw, location))
        if empty:
            raise CorpusError(f"{self.path}: holds no {self.split}/{label}/*.txt; download the archive again")

    def fingerprint(self, **options: object) -> str:
        """Return a hash of the content, in the order of the archive, positive reviews first."""
        digests = (
            (name, hashlib.sha256(raw).digest())
            for label in LABELS
            for name, _, raw in self._members(Counter(), label)
        )
        return content_fingerprint("imdb", digests, **options)

    def _members(self, skipped: Counter[str], *labels: str) -> Generator[tuple[str, str, bytes]]:
        """Yield the id, the location and the bytes of each review of the split with one of the labels."""
        with reading(str(self.path), CorpusError):
            for member, content in tar_members(self.path):
                match = _INSIDE.fullmatch(member.name)
                if (
                    content is None
                    or match is None
                    or match["split"] != self.split
                    or match["label"] not in labels
                ):
                    continue
                if is_system_file(PurePath(match["file"])):
                    skipped[SYSTEM_FILE] += 1
                    continue
                if not match["file"].lower().endswith(".txt"):
                    skipped[OTHER_ENDING] += 1
                    continue
                location = f"{self.path}: {member.name!r}"
                if member.size >= MAX_LINE:
                    raise CorpusError(
                        f"{location}: {member.size:,} bytes are too many for a review; download the archive again"
                    )
                yield (
                    f"imdb/{self.split}/{match['label']}/{without_ending(match['file'], '.txt')}",
                    location,
                    content.read(),
                )


def is_archive(path: Path) -> bool:
    """Return whether the content is a tar archive, plain or gzip.

    Raises:
        CorpusError: it cannot be read.
    """
    with file_source(path).stream() as stream:
        return stream.read(512)[257:262] == b"ustar"


def _by_number(file: Path) -> tuple[int, str]:
    match = _NUMBERED.fullmatch(file.stem)
    return (int(match["number"]) if match else sys.maxsize, file.name)


def _review(name: str, text: str) -> Review:
    match = _NUMBERED.fullmatch(name.rpartition("/")[2])
    return Review(name, text, match["rating"] if match else None)
