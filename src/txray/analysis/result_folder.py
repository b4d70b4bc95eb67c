"""Results as folders: tables, a readable summary, and what is needed to load them again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import polars as pl

from txray.errors import StageError, UnknownNameError, UsageError, in_one_line
from txray.files import atomic_folder, sha256_of
from txray.preferences.stage import Stage
from txray.preferences.stage_folder import DAMAGE

FORMAT = 1
RESULT = "result.json"
"""Settings of the result and checksums of its files."""


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
        settings: plain JSON values that loading needs.

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
    """A result folder whose checksums are right: its path, and the summary and settings that were saved."""

    path: Path
    summary: Mapping[str, Any]
    settings: Mapping[str, Any]

    def table(self, name: str) -> pl.DataFrame:
        """Return the table of this name."""
        return pl.read_parquet(self.path / f"{name}.parquet")

    def stage(self, name: str) -> Stage:
        """Return the stage of this name."""
        return Stage.load(self.path / name)


class SavedResult:
    """Base of the results that can be saved as a folder and loaded again."""

    SUMMARY_FILE: ClassVar[str]
    """Name of the file of the summary, which marks the folder of such a result."""

    if TYPE_CHECKING:

        @property
        def summary(self) -> Mapping[str, Any]:
            """Return what `save` writes as the summary, plain JSON values."""

    def save(self, folder: Path | str) -> Path:
        """Write the result as a folder, complete or not at all, and return its path.

        The folder holds the tables as Parquet and CSV, and the summary as JSON: neurons, summary.json of a comparison;
        stages, changes, flows, distances and timeline.json of a timeline; pairs and matching.json; layers and
        similarity.json. It also holds what `load` needs, such as the stages reduced to what was compared.

        Raises:
            OutputError: the folder cannot be written, or holds something else.
        """
        return save_result(folder, type(self).__name__, self.SUMMARY_FILE, self.summary, **self._contents())

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Read a folder that `save` wrote.

        Raises:
            StageError: the folder holds no such result, or is damaged.

        Example:
            >>> Comparison.load("out").changed()
        """
        name = cls.__name__
        if not isinstance(folder, (str, os.PathLike)):
            raise UsageError(f"{name}.load: expected the path of a folder, got a {type(folder).__name__}")
        path = Path(folder)
        if not (path / RESULT).is_file():
            raise StageError(
                f"{path}: holds no saved {name} (no {RESULT}); pass a folder written by {name}.save"
            )
        try:
            result = json.loads((path / RESULT).read_text(encoding="utf-8"))
            if (result["format"], result["result"]) == (FORMAT, name):
                for file, checksum in result["checksums"].items():
                    if not (path / file).is_file() or sha256_of(path / file) != checksum:
                        raise ValueError(f"{file} is missing or has changed")
                summary = json.loads((path / cls.SUMMARY_FILE).read_text(encoding="utf-8"))
                return cls._loaded(ResultFolder(path, dict(summary), dict(result["settings"])))
        except DAMAGE as error:
            raise StageError(f"{path}: damaged ({in_one_line(error)}); make the {name} again") from error
        raise StageError(
            f"{path}: holds a {result['result']} of format {result['format']}, not a {name} of format {FORMAT}; "
            f"pass a folder written by {name}.save"
        )

    def _contents(self) -> dict[str, Any]:
        """Return the arguments of `save_result`."""
        raise NotImplementedError

    @classmethod
    def _loaded(cls, folder: ResultFolder) -> Self:
        raise NotImplementedError


def figure_name(figure: str, known: Sequence[str]) -> str:
    """Return the name of a figure of `txray.plots`, which may be written with hyphens.

    Raises:
        UnknownNameError: a figure that does not draw this kind of result.
    """
    name = str(figure).replace("-", "_")
    if name not in known:
        raise UnknownNameError.of("figure", name, known)
    return name
