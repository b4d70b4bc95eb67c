"""Writing files and folders so that they are either complete or absent."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from txray.errors import OutputError

_WRITERS = count()  # two writers of one process must not share a temporary file


@contextmanager
def atomic_folder(target: Path, *, markers: Collection[str]) -> Iterator[Path]:
    """A temporary sibling to fill; it becomes `target` only when the block ends without an error.

    An existing `target` is replaced as a whole, but only if it is of the same kind: a folder of the user's
    that merely has the same name is never touched.

    Args:
        target: the folder to make.
        markers: names of files of which folders of this kind hold one; an existing folder without is replaced
            only if it is empty.

    Raises:
        OutputError: the disk is full, the place cannot be written, or `target` holds something else.
    """
    require_replaceable(target, markers)
    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        temporary.chmod(0o755)
        yield temporary
        for file in sorted(temporary.rglob("*")):
            if file.is_file():
                _sync(file)
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
            target.rename(old / "replaced")
            temporary.rename(target)
            shutil.rmtree(old)
        else:
            temporary.rename(target)
        _sync(target.parent)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None and temporary.exists():
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """A temporary sibling path to write; it becomes `target` only when the block ends without an error.

    Raises:
        OutputError: the disk is full, or the place cannot be written.
    """
    temporary = target.parent / f".{target.name}.{os.getpid()}-{next(_WRITERS)}.part"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync(temporary)
        temporary.replace(target)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error
    finally:
        # Where the folder is none, there is nothing to remove and the error above tells why.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Write a whole UTF-8 text file, or nothing."""
    with atomic_file(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256_of(file: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def require_replaceable(target: Path, markers: Collection[str]) -> None:
    """Refuse a folder that `atomic_folder` would refuse: before hours of work rather than after.

    Raises:
        OutputError: `target` holds something else than a folder of this kind.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not any((target / marker).is_file() for marker in markers):
        expected = f" and holds no {' or '.join(markers)}" if markers else ""
        raise OutputError(f"{target}: exists already{expected}; name another place, or remove it first")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
