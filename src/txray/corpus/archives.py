"""Opening compressed files and archives without unpacking them to disk."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from txray.errors import in_one_line

GZIP_MAGIC = b"\x1f\x8b"
ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
ZIP_ENCRYPTED = 1
"""Bit of a zip member's `flag_bits`."""

_DAMAGED = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile, tarfile.TarError)


@contextmanager
def reading(location: str, error: type[Exception]) -> Iterator[None]:
    """Turn the exceptions of reading a file or an archive into one line of `error` that says what to do.

    Args:
        location: the file, and the member of an archive.
        error: what to raise, e.g. `CorpusError`.
    """
    try:
        yield
    except EOFError as cause:
        raise error(
            f"{location}: ends early, the compressed data are cut off; copy or download it again"
        ) from cause
    except _DAMAGED as cause:
        raise error(f"{location}: damaged ({in_one_line(cause)}); copy or download it again") from cause
    except OSError as cause:
        raise error(f"{location}: cannot be read: {cause.strerror or in_one_line(cause)}") from cause
    except NotImplementedError as cause:
        raise error(
            f"{location}: cannot be unpacked ({in_one_line(cause)}); unpack it with another program"
        ) from cause


@contextmanager
def decompressed(stream: IO[bytes]) -> Iterator[IO[bytes]]:
    """Open the bytes of `stream`, decompressed if its content (not its name) is gzip; close it at the end."""
    with ExitStack() as stack:
        buffered = stack.enter_context(io.BufferedReader(stream))  # type: ignore[type-var]
        if buffered.peek(2)[:2] == GZIP_MAGIC:
            unzipped = stack.enter_context(gzip.GzipFile(fileobj=buffered, mode="rb"))
            yield stack.enter_context(io.BufferedReader(unzipped))
        else:
            yield buffered


def tar_members(path: Path) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    """Yield the members of a `.tar` or `.tar.gz` in archive order, with the bytes of regular files.

    The archive is read once from front to back without a list of members, so memory does not grow with it. The bytes
    of a member must be read before the next member is requested.

    Raises:
        OSError, EOFError, zlib.error, tarfile.TarError: see `reading`. Also for a damaged header and an archive without
            its end, where the standard library just stops.
    """
    with (
        decompressed(path.open("rb", buffering=0)) as stream,
        tarfile.open(fileobj=stream, mode="r|", tarinfo=_StrictTarInfo) as tar,
    ):
        while (member := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]
            yield member, tar.extractfile(member) if member.isreg() else None
        while stream.read(1 << 16):  # reaches the checksum at the end of a gzip file
            pass


_DESCRIPTIONS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
_LONGEST_DESCRIPTION = 1 << 20
"""Bytes; the standard library reads them into memory, however many they unpack to."""


class _StrictTarInfo(tarfile.TarInfo):
    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str | None, errors: str) -> _StrictTarInfo:
        try:
            member = super().frombuf(buf, encoding, errors)  # type: ignore[arg-type]
            if member.type in _DESCRIPTIONS and member.size > _LONGEST_DESCRIPTION:
                raise tarfile.ReadError(f"a name or description of {member.size:,} bytes")
            return member
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise  # the mark at the end of an archive
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error}, before the mark at the end of the archive") from error
