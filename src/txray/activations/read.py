"""Recognize the format of stored activations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from txray.activations.folder import FolderFiles
from txray.activations.stored import StoredActivations
from txray.activations.writer import INDEX, UNFINISHED
from txray.errors import CaptureError


def is_activations(path: Path | str) -> bool:
    """Return whether a path holds stored activations, judged by names of files only."""
    path = Path(path)
    return path.is_dir() and ((path / INDEX).is_file() or (path / UNFINISHED).is_file())


def read_activations(source: Path | str | Any) -> StoredActivations:
    """Open stored activations."""
    folder = Path(source)
    if (folder / UNFINISHED).is_file():
        raise CaptureError(
            f"{folder}: its collection is not finished; run it again with the same settings to complete it"
        )
    return StoredActivations(FolderFiles(folder))
