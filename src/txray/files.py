"""Write files and folders atomically: they are either complete or absent."""

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

TEMP_PREFIX = ".txray-"
"""Prefix of the names of incomplete files and folders."""

_WRITERS = count()  # two writers of one process must not share a temporary file


@contextmanager
def atomic_folder(target: Path, *, markers: Collection[str]) -> Iterator[Path]:
    """Yield a temporary folder beside `target`, which replaces `target` when the block ends without an error.

    An existing `target` is replaced as a whole, but only if it is of the same kind: an unrelated folder of the same
    name is never touched.

    Args:
        target: the folder to write.
        markers: names of files; a folder of this kind holds at least one of them. An existing folder without any is
            replaced only if it is empty.

    Raises:
        OutputError: the disk is full, the folder cannot be written, or `target` holds something else.
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
        # If the former folder could not be restored, `replaced` holds its only copy.
        leftovers = (temporary, replaced) if target.exists() else (temporary,)
        for folder in leftovers:
            if folder is not None and folder.exists():
                shutil.rmtree(folder, ignore_errors=True)


def _temporary_folder(target: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=f"{TEMP_PREFIX}{target.name}.", dir=target.parent))


def _replace(target: Path, new: Path, former: Path) -> None:
    """Replace `target` by `new` and move the former content to `former`; undo the move on failure."""
    target.rename(former)
    try:
        new.rename(target)
    except BaseException:
        former.rename(target)
        raise


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`, which replaces `target` when the block ends without an error.

    Raises:
        OutputError: the disk is full, or the file cannot be written.
    """
    temporary = target.parent / f"{TEMP_PREFIX}{target.name}.{os.getpid()}-{next(_WRITERS)}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync(temporary)
        temporary.replace(target)
    except Exception as error:
        raise _as_output_error(target, error) from error
    finally:
        # If the parent is not a folder, there is nothing to remove, and the error above says so.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _as_output_error(target: Path, error: Exception) -> Exception:
    """Return an OutputError for failures of the disk, and any other error unchanged."""
    if isinstance(error, OSError):
        return OutputError(f"{target}: cannot be written: {error.strerror or error}")
    # Libraries that write files themselves report disk failures only in their message.
    for reason in (
        "No space left on device",
        "Disk quota exceeded",
        "Read-only file system",
        "File too large",
    ):
        if reason in str(error) and not isinstance(error, OutputError):
            return OutputError(f"{target}: cannot be written: {reason}")
    return error


def remove_temporaries(folder: Path) -> None:
    """Delete temporary files left by an interrupted process. Call only when no other process writes to the folder."""
    for leftover in folder.glob(f"{TEMP_PREFIX}*"):
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
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
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def require_replaceable(target: Path, markers: Collection[str]) -> None:
    """Raise the error that `atomic_folder` would raise, before hours of work rather than after.

    Raises:
        OutputError: `target` exists and is not a folder of this kind.
    """
    if not target.exists():
        return
    # Leftovers of an interrupted process do not count as content.
    if target.is_dir() and all(entry.name.startswith(TEMP_PREFIX) for entry in target.iterdir()):
        return
    if not any((target / marker).is_file() for marker in markers):
        expected = f" and holds no {' or '.join(markers)}" if markers else ""
        raise OutputError(f"{target}: already exists{expected}; choose another path, or remove it first")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
