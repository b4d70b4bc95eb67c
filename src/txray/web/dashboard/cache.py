"""Results on disk: files that are complete or absent, named by what they were made from."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from txray.errors import StageError, in_one_line
from txray.files import atomic_file

VERSION = 3
"""Of the contents of the files; other versions have files of their own."""

_MAX_DAYS = 30
_NOTE = "txray-note"


@dataclass(frozen=True)
class Cache:
    """A folder of results.

    Attributes:
        folder: may be removed at any time; results are made again.
    """

    folder: Path

    def path(self, *parts: str) -> Path:
        """Return the parquet file of a result, named by these parts."""
        return self.folder.joinpath(f"v{VERSION}", *parts[:-1], f"{parts[-1]}.parquet")

    def tidy(self) -> int:
        """Remove results that were not used for a month; return how many entries were removed."""
        old = time.time() - _MAX_DAYS * 86_400
        removed = 0
        for entry in self.folder.glob("v*/*/*"):
            with suppress(OSError):
                if entry.stat().st_mtime < old:
                    if entry.is_dir():
                        shutil.rmtree(entry, ignore_errors=True)
                    else:
                        entry.unlink()
                    removed += 1
        return removed


def write_result(file: Path, table: pl.DataFrame, note: str = "", *, rows: int | None = None) -> None:
    """Write a table with a note, complete or not at all; `rows` per row group can be read without the others."""
    with atomic_file(file) as temporary:
        table.write_parquet(temporary, compression="lz4", row_group_size=rows, metadata={_NOTE: note})


def read_note(file: Path) -> str:
    """Return the remark of a result; empty if there is none."""
    metadata: Mapping[str, Any] = pl.read_parquet_metadata(file)
    return str(metadata.get(_NOTE, ""))


def read_result(file: Path) -> pl.DataFrame:
    """Return a result, and mark it as used today.

    Raises:
        StageError: it is damaged; it is removed, so that it is made again.
    """
    with suppress(OSError):
        # The entry that `tidy` looks at is the folder of a stage or pair.
        for used in (file, file.parent):
            used.touch()
    try:
        return pl.read_parquet(file)
    except (OSError, pl.exceptions.PolarsError) as error:
        with suppress(OSError):
            file.unlink()
        raise StageError(f"{file}: cannot be read ({in_one_line(error)}); reload to make it again") from error
