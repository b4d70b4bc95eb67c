"""Where results lie that are worth keeping: files that are complete or absent, named by what they were made from."""

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

VERSION = 1
"""Of what lies in the files; another version looks for files of its own."""

_KEPT_DAYS = 30
_NOTE = "txray-note"


@dataclass(frozen=True)
class Cache:
    """A folder of results.

    Attributes:
        folder: may be removed at any time; everything in it can be made again.
    """

    folder: Path

    def place(self, *parts: str) -> Path:
        """The file of these parts of a name; `parquet` tables all of them."""
        return self.folder.joinpath(f"v{VERSION}", *parts[:-1], f"{parts[-1]}.parquet")

    def tidy(self) -> int:
        """Remove what nobody has used for a month; returns how many entries were removed."""
        old = time.time() - _KEPT_DAYS * 86_400
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
    """Write a table, complete or not at all.

    Args:
        file: where.
        table: what.
        note: a remark that stays with it.
        rows: per group of rows, which can be read without the others.
    """
    with atomic_file(file) as temporary:
        table.write_parquet(temporary, compression="lz4", row_group_size=rows, metadata={_NOTE: note})


def read_note(file: Path) -> str:
    """The remark of a result; empty where there is none."""
    metadata: Mapping[str, Any] = pl.read_parquet_metadata(file)
    return str(metadata.get(_NOTE, ""))


def read_result(file: Path) -> pl.DataFrame:
    """A result, marked as used today.

    Raises:
        StageError: it is damaged; it is removed, so that the next one is made anew.
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
        raise StageError(f"{file}: cannot be read ({in_one_line(error)}); reload to make it anew") from error
