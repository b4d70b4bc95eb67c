"""A text source: a file, a gzip file or a member of an archive, decoded with errors that name the place."""

from __future__ import annotations

import codecs
import hashlib
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePath
from typing import IO

from txray.corpus.archives import GZIP_MAGIC, ZIP_ENCRYPTED, ZIP_MAGIC, decompressed, reading
from txray.errors import CorpusError

MAX_LINE = 1 << 28
"""Bytes; a longer line, field of a table, or file that is one document is refused."""

_HEAD = 4096
_BLOCK = 1 << 16
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
_TO_UTF8 = "if it is text, convert it to UTF-8, e.g. with iconv -f {guess} -t UTF-8"


@dataclass(frozen=True, slots=True)
class Source:
    """A text that can be read again and again; gzip is decompressed.

    Attributes:
        location: names the text in errors: the path, and the member of an archive.
        id_prefix: begins the ids of its documents, e.g. `wiki/train`; without `.gz`, so that ids of the compressed and
            the plain text are equal.
        opener: opens the bytes as stored.
    """

    location: str
    id_prefix: str
    opener: Callable[[], AbstractContextManager[IO[bytes]]]

    @contextmanager
    def stream(self) -> Iterator[IO[bytes]]:
        """Open the decompressed bytes.

        Raises:
            CorpusError: they cannot be read, or the compressed data are damaged.
        """
        with reading(self.location, CorpusError), self.opener() as stored, decompressed(stored) as stream:
            yield stream

    def check(self) -> Source:
        """Check the first bytes; return this source.

        Raises:
            CorpusError: it is unreadable, empty, binary, or not UTF-8.
        """
        with self.stream() as stream:
            head = stream.read(_HEAD)
        if not head:
            raise CorpusError(f"{self.location}: empty; give a file with text")
        if head.startswith(ZIP_MAGIC):
            raise CorpusError(f"{self.location}: a zip archive where text is needed; unpack it first")
        if not head.startswith(_UTF16_MARKS) and head.count(0) > len(head) // 10:
            raise CorpusError(
                f"{self.location}: binary ({head.count(0)} of the first {len(head)} bytes are NUL); "
                + _TO_UTF8.format(guess="UTF-16")
            )
        try:
            codecs.getincrementaldecoder("utf-8")().decode(head)
        except UnicodeDecodeError as error:
            raise _wrong_encoding(head, self.location, error.start) from error
        return self

    def lines(self) -> Iterator[tuple[int, str]]:
        """Yield line numbers, from 1, and lines with their line ends, split at `\\n` only, without byte order mark.

        Raises:
            CorpusError: not UTF-8, with the line and the byte offset; damaged; a line above `MAX_LINE`.
        """
        offset = 0
        with self.stream() as stream:
            for number, raw in enumerate(iter(partial(stream.readline, MAX_LINE), b""), 1):
                if len(raw) >= MAX_LINE:
                    raise CorpusError(
                        f"{self.location}, line {number}: longer than {MAX_LINE:,} bytes; break the text into "
                        "lines"
                    )
                yield number, decoded(raw, self.location, line=number, offset=offset)
                offset += len(raw)

    def text(self) -> str:
        """Return the whole text.

        Raises:
            CorpusError: as for `lines`.
        """
        with self.stream() as stream:
            raw = stream.read(MAX_LINE)
        if len(raw) >= MAX_LINE:
            raise CorpusError(
                f"{self.location}: more than {MAX_LINE:,} bytes for one document; split the file"
            )
        return decoded(raw, self.location)

    def digest(self) -> tuple[str, bytes]:
        """Return the id prefix, and the SHA-256 of the decompressed bytes (32 bytes)."""
        sha256 = hashlib.sha256()  # hashlib.file_digest does not accept every kind of stream
        with self.stream() as stream:
            while block := stream.read(_BLOCK):
                sha256.update(block)
        return self.id_prefix, sha256.digest()


def decoded(raw: bytes, location: str, *, line: int = 1, offset: int = 0) -> str:
    """Return UTF-8 bytes as text, without a byte order mark at the beginning.

    Args:
        raw: the bytes.
        location: names the text in the error.
        line: number of the first line in `raw`.
        offset: of `raw` in the whole text, in bytes.

    Raises:
        CorpusError: not UTF-8, with the line and the byte offset.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _wrong_encoding(raw, location, error.start, line=line, offset=offset) from error
    return text.removeprefix("\ufeff") if offset == 0 else text


def _wrong_encoding(raw: bytes, location: str, at: int, *, line: int = 1, offset: int = 0) -> CorpusError:
    line += raw.count(b"\n", 0, at)
    guess = "UTF-16" if offset == 0 and raw.startswith(_UTF16_MARKS) else "LATIN1"
    return CorpusError(
        f"{location}, line {line}: not UTF-8 (byte 0x{raw[at]:02X} at offset {offset + at}); "
        + _TO_UTF8.format(guess=guess)
    )


def file_source(path: Path, id_prefix: str | None = None) -> Source:
    """Return the source of a file, plain or gzip.

    Args:
        path: of the file.
        id_prefix: begins the ids of its documents; by default the file name without its endings.

    Raises:
        CorpusError: missing, a folder, not a regular file, or named `.gz` and not gzip.
    """
    if kind_of(path) != "file":
        raise CorpusError(f"{path}: a folder where a file is needed; name one file in it")
    with reading(str(path), CorpusError), path.open("rb") as stream:
        magic = stream.read(2)
    if path.suffix.lower() == ".gz" and magic and magic != GZIP_MAGIC:
        raise CorpusError(f"{path}: named .gz but not gzip-compressed; download it again, or rename it")
    return Source(
        str(path),
        plain_name(path.name) if id_prefix is None else id_prefix,
        lambda: path.open("rb", buffering=0),
    )


def zip_source(path: Path, member: zipfile.ZipInfo, id_prefix: str) -> Source:
    """Return the source of a member of a zip archive, plain or gzip.

    Raises:
        CorpusError: the member is encrypted.
    """
    location = f"{path}: {member.filename!r}"
    if member.flag_bits & ZIP_ENCRYPTED:
        raise CorpusError(f"{location}: encrypted; unpack it with its password first")

    @contextmanager
    def opener() -> Iterator[IO[bytes]]:
        with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
            yield stream

    return Source(location, id_prefix, opener)


def kind_of(path: Path) -> str:
    """Return `file` or `folder`.

    Raises:
        CorpusError: it does not exist, cannot be inspected, or is neither (a pipe, a device).
    """
    with reading(str(path), CorpusError):
        if path.is_dir():
            return "folder"
        if path.is_file():
            return "file"
        if path.exists():
            raise CorpusError(
                f"{path}: neither a file nor a folder; text is read more than once, so save it first"
            )
    raise CorpusError(f"{path}: no such file or folder; check the path")


SYSTEM_FILE = "hidden or system file"
"""Reason to skip a file: another program put it in the folder."""
OTHER_ENDING = "file with another ending"
"""Reason to skip a file in a folder of documents."""

_SYSTEM_NAMES = ("__macosx", "thumbs.db", "desktop.ini")


def is_system_file(inside: PurePath) -> bool:
    """Return whether a file, or a folder above it, is hidden or the operating system's, such as `._a.txt`.

    Args:
        inside: its path inside the folder or archive that is read.
    """
    parts = [part for part in inside.parts if part not in (".", "..")]
    return any(part.startswith(".") or part.lower() in _SYSTEM_NAMES for part in parts)


def listed(folder: Path, *patterns: str) -> list[Path]:
    """Return the files of a folder that match, pattern by pattern, sorted by their path inside it.

    The case of names does not matter; system files are skipped.
    """
    return [
        path
        for above, _, name in (pattern.rpartition("/") for pattern in patterns)
        for inside, path in _files(folder, f"{above}/*" if above else "*")
        if fnmatchcase(path.name.lower(), name) and not is_system_file(inside)
    ]


def skipped_files(folder: Path, pattern: str, files: Collection[Path]) -> Counter[str]:
    """Count the files of a folder that are not among `files`, by the reason why they are not read.

    Args:
        folder: that is read.
        pattern: of all its files: `*`, or `**/*` with those in folders below.
        files: that are read.
    """
    known = set(files)
    return Counter(
        SYSTEM_FILE if is_system_file(inside) else OTHER_ENDING
        for inside, path in _files(folder, pattern)
        if path not in known
    )


def _files(folder: Path, pattern: str) -> list[tuple[Path, Path]]:
    """Return the path inside the folder and the path of every file that matches, sorted."""
    with reading(str(folder), CorpusError):
        files = [(path.relative_to(folder), path) for path in folder.glob(pattern) if path.is_file()]
    return sorted(files, key=lambda pair: pair[0].as_posix())


def without_ending(name: str, *endings: str) -> str:
    """Return a file name without the given endings, removed one after the other, in upper or lower case."""
    for ending in endings:
        if name.lower().endswith(ending):
            name = name[: -len(ending)]
    return name


def plain_name(name: str) -> str:
    """Return a file name without `.gz` and one more ending."""
    return Path(without_ending(name, ".gz")).stem


def content_fingerprint(format: str, digests: Iterable[tuple[str, bytes]], **options: object) -> str:  # noqa: A002
    """Return the SHA-256 of the content in reading order, of the id prefixes, and of the reading options.

    Args:
        format: the reader's name.
        digests: id prefix and digest of each text, from `Source.digest`.
        options: every option that changes the documents.
    """
    digest = hashlib.sha256(repr((format, sorted(options.items()))).encode())
    for pair in digests:
        digest.update(repr(pair).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
