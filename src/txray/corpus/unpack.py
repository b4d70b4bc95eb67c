"""Unpacking an archive from elsewhere so that it can write nothing but plain files in one folder."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from txray.corpus.archives import ZIP_ENCRYPTED, ZIP_MAGIC, reading, tar_members
from txray.errors import DownloadError
from txray.files import atomic_folder

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class UnpackLimits:
    """What an archive may hold at most; more is taken for an archive bomb.

    Attributes:
        size: bytes of all files together, as they come out, whatever the archive says.
        members: files and folders.
    """

    size: int = 4 << 30
    members: int = 200_000


MARK = ".unpacked-from-sha256"
"""A file in every unpacked folder that tells which archive it came from."""


def unpack(archive: Path, target: Path, limits: UnpackLimits | None = None, *, sha256: str = "") -> None:
    """Unpack a `.zip`, `.tar` or `.tar.gz` into `target`, which appears complete or not at all.

    Args:
        archive: the file; its content tells the kind.
        target: the folder; an existing one is replaced as a whole if an archive was unpacked there.
        limits: of size and number.
        sha256: of the archive, written into the folder's `MARK`.

    Raises:
        DownloadError: damaged, encrypted or too large; or a member that is neither a file nor a folder, has a
            name that leads out of the folder, or comes twice. Nothing is left behind.
        OutputError: the folder cannot be written.
    """
    limits = limits or UnpackLimits()
    left = limits.size
    with atomic_folder(target, markers=(MARK,)) as folder:
        for number, (name, content) in enumerate(_members(archive), 1):
            if number > limits.members:
                raise _refused(archive, f"more than {limits.members:,} members")
            place = folder / _checked(archive, name)
            try:
                if content is None:
                    place.mkdir(parents=True, exist_ok=True)
                    continue
                place.parent.mkdir(parents=True, exist_ok=True)
                stream = place.open("xb")
            except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
                raise _refused(archive, f"holds {name!r} twice") from error
            with stream:
                while block := _read(archive, content):
                    left -= len(block)
                    if left < 0:
                        raise _refused(archive, f"more than {limits.size:,} bytes unpacked")
                    stream.write(block)
        (folder / MARK).write_text(sha256, encoding="utf-8")


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Name and bytes of each member, None for a folder."""
    with reading(str(archive), DownloadError), archive.open("rb") as stream:
        is_zip = stream.read(4) in ZIP_MAGIC
    with reading(str(archive), DownloadError):
        yield from _zip_members(archive) if is_zip else _tar_members(archive)


def _zip_members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refused(archive, f"{member.filename!r} is a link or a device")
            if member.flag_bits & ZIP_ENCRYPTED:
                raise _refused(archive, f"{member.filename!r} is encrypted")
            if member.is_dir():
                yield member.filename, None
            else:
                with opened.open(member) as content:
                    yield member.filename, content


def _tar_members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    for member, content in tar_members(archive):
        if content is None and not member.isdir():
            raise _refused(archive, f"{member.name!r} is a link or a device")
        yield member.name, content


def _read(archive: Path, content: IO[bytes]) -> bytes:
    with reading(str(archive), DownloadError):
        return content.read(_BLOCK)


def _checked(archive: Path, name: str) -> PurePosixPath:
    """The name of a member, which must stay inside the folder on every system."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or PureWindowsPath(name).drive or not name:
        raise _refused(archive, f"{name!r} leads out of the folder")
    return path


def _refused(archive: Path, why: str) -> DownloadError:
    return DownloadError(
        f"{archive}: {why}; refused, nothing was unpacked; get the archive from a source you trust"
    )
