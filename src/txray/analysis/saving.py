"""Results as a folder of tables with a summary, all or nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from txray.files import atomic_folder


def save_tables(
    folder: Path | str, tables: Mapping[str, pl.DataFrame], summary: Mapping[str, Any], name: str
) -> Path:
    """Write each table as Parquet and CSV, and the summary as JSON; returns the folder.

    Args:
        folder: replaced if it holds such a result already.
        tables: name of the files -> table.
        summary: plain JSON values.
        name: of the summary's file, by which such a folder is known.

    Raises:
        OutputError: the place cannot be written.
    """
    target = Path(folder)
    with atomic_folder(target, markers=(name,)) as place:
        for file, table in tables.items():
            table.write_parquet(place / f"{file}.parquet")
            table.write_csv(place / f"{file}.csv")
        text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False)
        (place / name).write_text(text + "\n", encoding="utf-8")
    return target
