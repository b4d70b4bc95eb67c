"""A training run on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from txray.errors import SnapshotError, in_one_line

RUN_FILE, CURVES_FILE = "run.json", "curves.parquet"
FORMAT = 1


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """A finished or interrupted training on disk.

    Attributes:
        folder: folder of the run.
        snapshots: epoch -> snapshot folder; epoch 0 is the untrained model.
        curves: one row per epoch and split, columns `epoch`, `split`, `loss`, and the other metrics.
        best_epoch: the first epoch with the lowest validation loss.
        settings: everything the result depends on; training with the same settings resumes the run.
        facts: split -> counts of the data, such as the number of words and the share of `<unk>`.
    """

    folder: Path
    snapshots: Mapping[int, Path]
    curves: pl.DataFrame
    best_epoch: int
    settings: Mapping[str, Any]
    facts: Mapping[str, Any]


def load_run(folder: Path | str) -> TrainingRun:
    """Read a training run, which may be running or interrupted.

    Raises:
        SnapshotError: the folder has no run, no epoch is complete yet, or a file is damaged.
    """
    folder = Path(folder)
    description = read_description(folder)
    file = folder / CURVES_FILE
    if not file.is_file():
        raise SnapshotError(f"{file}: no such file; no epoch of this training is complete; start it again")
    try:
        curves = pl.read_parquet(file)
        epochs = curves["epoch"].unique().sort().to_list()
        losses = curves.filter(pl.col("split") == "validation").sort("epoch")["loss"].to_list()
        best = best_epoch(losses)
    except (pl.exceptions.PolarsError, OSError, ValueError, TypeError, IndexError) as error:
        raise SnapshotError(f"{file}: damaged: {in_one_line(error)}; start the training again") from error
    return TrainingRun(
        folder=folder,
        snapshots={epoch: snapshot_folder(folder, epoch) for epoch in epochs},
        curves=curves,
        best_epoch=best,
        settings=description["settings"],
        facts=description["facts"],
    )


def snapshot_folder(folder: Path, epoch: int) -> Path:
    """Return the snapshot folder of an epoch."""
    return folder / f"epoch-{epoch:03d}"


def read_description(folder: Path) -> dict[str, Any]:
    """Return the content of `run.json`: the settings and facts of a run.

    Raises:
        SnapshotError: the file is missing, damaged, or of another version.
    """
    file = folder / RUN_FILE
    if not file.is_file():
        raise SnapshotError(f"{file}: no such file; pass the folder of a training run")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        complete = isinstance(content, dict) and all(
            isinstance(content.get(part), dict) for part in ("settings", "facts")
        )
    except (ValueError, RecursionError):
        complete = False
    if not complete:
        raise SnapshotError(f"{file}: damaged; remove the folder and start the training again")
    if content.get("format") != FORMAT:
        raise SnapshotError(
            f"{file}: format {content.get('format')!r}; this version of txray reads format {FORMAT}; "
            "use the version that wrote it"
        )
    description: dict[str, Any] = content
    return description


def best_epoch(losses: list[float]) -> int:
    """Return the first epoch with the lowest validation loss."""
    return min(range(len(losses)), key=losses.__getitem__)


def is_exhausted(losses: list[float], patience: int | None) -> bool:
    """Return whether none of the last `patience` epochs improved the validation loss."""
    return patience is not None and len(losses) - 1 - best_epoch(losses) >= patience


def annealed_rate(learning_rate: float, losses: list[float], factor: float) -> float:
    """Return the learning rate of the next epoch: divided by `factor` for each epoch without an improvement.

    It depends on the (epochs so far + 1,) validation losses alone, so a resumed training continues with the same rate.
    """
    failures = sum(best_epoch(losses[: epoch + 1]) != epoch for epoch in range(len(losses)))
    return learning_rate / factor**failures
