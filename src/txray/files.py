"""Writing files and folders so that they are either complete or absent."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from txray.errors import OutputError

TEMPORARY = ".txray-"
"""Begins the name of everything that is not complete yet."""

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
    temporary = replaced = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary_folder(target)
        temporary.chmod(0o755)
        yield temporary
        for file in sorted(temporary.rglob("*")):
            if file.is_file():
                _sync(file)
        if target.exists():
            replaced = _temporary_folder(target)
            _replace(target, temporary, replaced / "replaced")
        else:
            temporary.rename(target)
        _sync(target.parent)
    except Exception as error:
        raise _as_output_error(target, error) from error
    finally:
        # Where the former folder could not even be put back, this is the only copy of it.
        done = (temporary, replaced) if target.exists() else (temporary,)
        for left in done:
            if left is not None and left.exists():
                shutil.rmtree(left, ignore_errors=True)


def _temporary_folder(target: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=f"{TEMPORARY}{target.name}.", dir=target.parent))


def _replace(target: Path, new: Path, former: Path) -> None:
    """Put a folder in the place of another, or leave the other where it is."""
    target.rename(former)
    try:
        new.rename(target)
    except BaseException:
        former.rename(target)
        raise


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """A temporary sibling path to write; it becomes `target` only when the block ends without an error.

    Raises:
        OutputError: the disk is full, or the place cannot be written.
    """
    temporary = target.parent / f"{TEMPORARY}{target.name}.{os.getpid()}-{next(_WRITERS)}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync(temporary)
        temporary.replace(target)
    except Exception as error:
        raise _as_output_error(target, error) from error
    finally:
        # Where the folder is none, there is nothing to remove and the error above tells why.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _as_output_error(target: Path, error: Exception) -> Exception:
    """What to raise for an error within a block: a full disk has many names, other errors stay what they are."""
    if isinstance(error, OSError):
        return OutputError(f"{target}: cannot be written: {error.strerror or error}")
    # Libraries that write files on their own tell of the disk in words only.
    for words in (
        "No space left on device",
        "Disk quota exceeded",
        "Read-only file system",
        "File too large",
    ):
        if words in str(error) and not isinstance(error, OutputError):
            return OutputError(f"{target}: cannot be written: {words}")
    return error


def remove_temporaries(folder: Path) -> None:
    """Remove what a killed process was about to put in place; nobody may be writing there."""
    for left in folder.glob(f"{TEMPORARY}*"):
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Write a whole UTF-8 text file, or nothing."""
    with atomic_file(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def cache_folder() -> Path:
    """Return the user's folder for files that can be made or downloaded again."""
    if sys.platform == "win32":
        parent = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        parent = Path.home() / "Library" / "Caches"
    else:
        parent = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return parent / "txray"


def sha256_of(file: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def require_replaceable(target: Path, markers: Collection[str]) -> None:
    """Refuse a folder that `atomic_folder` would refuse: before hours of work rather than after.

    Raises:
        OutputError: `target` holds something else than a folder of this kind.
    """
    if not target.exists():
        return
    # What a killed process left behind before it could put anything in place is nothing.
    if target.is_dir() and all(each.name.startswith(TEMPORARY) for each in target.iterdir()):
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
