"""Results as folders: tables, a readable summary, and what is needed to load them again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from txray.errors import StageError, TxrayError, UnknownNameError, UsageError, in_one_line
from txray.files import atomic_folder, sha256_of
from txray.preferences import Stage

FORMAT = 1
RESULT = "result.json"
"""Settings of the result and checksums of its files."""

Result = TypeVar("Result")


def save_result(
    folder: Path | str,
    kind: str,
    marker: str,
    summary: Mapping[str, Any],
    *,
    tables: Mapping[str, pl.DataFrame],
    arrays: Mapping[str, pl.DataFrame] | None = None,
    stages: Mapping[str, Stage] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """Write a result folder, complete or not at all, and return its path.

    Args:
        folder: created, or replaced if it holds such a result already.
        kind: name of the class.
        marker: name of the file of the summary, by which such a folder is recognized.
        summary: plain JSON values.
        tables: name -> table, written as Parquet and CSV.
        arrays: name -> table, written as Parquet only.
        stages: name -> stage, written as a stage folder.
        settings: plain JSON values that `load_result` gives back.

    Raises:
        OutputError: the folder cannot be written, or holds something else.
    """
    target = Path(folder)
    with atomic_folder(target, markers=(marker,)) as path:
        for name, table in {**tables, **(arrays or {})}.items():
            table.write_parquet(path / f"{name}.parquet")
        for name, table in tables.items():
            table.write_csv(path / f"{name}.csv")
        for name, stage in (stages or {}).items():
            stage.save(path / name)
        _write_json(path / marker, summary)
        files = sorted([*path.glob("*.parquet"), path / marker])
        checksums = {file.name: sha256_of(file) for file in files}
        _write_json(
            path / RESULT,
            {"format": FORMAT, "result": kind, "settings": dict(settings or {}), "checksums": checksums},
        )
    return target


def _write_json(file: Path, value: Mapping[str, Any]) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    file.write_text(text + "\n", encoding="utf-8")


@dataclass(frozen=True)
class ResultFolder:
    """A result folder whose checksums are right.

    Attributes:
        path: of the folder.
        summary: the summary that was saved.
        settings: the settings that were saved.
    """

    path: Path
    summary: Mapping[str, Any]
    settings: Mapping[str, Any]

    def table(self, name: str) -> pl.DataFrame:
        """Return the table of this name."""
        return pl.read_parquet(self.path / f"{name}.parquet")

    def stage(self, name: str) -> Stage:
        """Return the stage of this name."""
        return Stage.load(self.path / name)


def load_result(
    folder: Path | str, kind: str, marker: str, build: Callable[[ResultFolder], Result]
) -> Result:
    """Read a folder that `save_result` wrote, and return what `build` makes of it.

    Args:
        folder: to read.
        kind: name of the class.
        marker: name of the file of the summary.
        build: makes the result.

    Raises:
        UsageError: `folder` is not a path.
        StageError: the folder holds no such result, or is damaged.
    """
    if not isinstance(folder, (str, os.PathLike)):
        raise UsageError(f"{kind}.load: expected the path of a folder, got a {type(folder).__name__}")
    path = Path(folder)
    if not (path / RESULT).is_file():
        raise StageError(f"{path}: holds no saved {kind} (no {RESULT}); pass a folder written by {kind}.save")
    try:
        result = json.loads((path / RESULT).read_text(encoding="utf-8"))
        if result["format"] != FORMAT or result["result"] != kind:
            raise StageError(
                f"{path}: holds a {result['result']} of format {result['format']}, not a {kind} of format {FORMAT}; "
                f"pass a folder written by {kind}.save"
            )
        for name, checksum in result["checksums"].items():
            if not (path / name).is_file() or sha256_of(path / name) != checksum:
                raise ValueError(f"{name} is missing or has changed")
        summary = json.loads((path / marker).read_text(encoding="utf-8"))
        return build(ResultFolder(path, dict(summary), dict(result["settings"])))
    # Files that are readable and yet not what they should be fail in many ways.
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        OSError,
        RecursionError,
        TxrayError,
        pl.exceptions.PolarsError,
    ) as error:
        if isinstance(error, StageError) and str(error).startswith(f"{path}: holds a "):
            raise
        raise StageError(f"{path}: damaged ({in_one_line(error)}); make the {kind} again") from error


def figure_name(figure: str, known: Sequence[str]) -> str:
    """Return the name of a figure of `txray.plots`, which may be written with hyphens.

    Args:
        figure: requested.
        known: names of the figures that draw this kind of result.

    Raises:
        UnknownNameError: none of these.
    """
    name = str(figure).replace("-", "_")
    if name not in known:
        raise UnknownNameError.of("figure", name, known)
    return name
