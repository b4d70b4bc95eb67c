"""The folder of a training run: locked to its settings, advanced one whole epoch at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from txray.errors import SnapshotError, in_one_line
from txray.files import atomic_file, remove_temporaries, write_text
from txray.models import RecurrentModel, save_model
from txray.settings_lock import SettingsLock
from txray.training.run import CURVES_FILE, FORMAT, RUN_FILE, read_description, snapshot_folder

_STATE_FILE = "state.safetensors"
_META = "txray"


@dataclass(frozen=True, eq=False)
class TrainingState:
    """The state of a training after a complete epoch.

    Attributes:
        epoch: number of the last complete epoch.
        rows: rows of the curves up to this epoch.
        optimizer: state of the optimizer: parameter number -> name -> value.
    """

    epoch: int
    rows: list[dict[str, Any]]
    optimizer: dict[int, dict[str, Tensor]]


@dataclass(frozen=True)
class RunFolder:
    """Reads and writes the files of one run.

    An epoch is complete once its state file is written: the snapshot is written before it, and the curves, which the
    state contains as well, after it. Each step is atomic, so a run that is killed at any point resumes from its last
    complete epoch.

    Attributes:
        path: path of the folder.
    """

    path: Path

    def lock_settings(self, settings: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """Store the settings of a new run, or check that an existing run has the same.

        Raises:
            UsageError: the folder belongs to a run with other settings, or holds other files.
            SnapshotError: the description of the run is damaged.
        """
        fingerprints = ("text", "vocabulary", "weights")
        lock = SettingsLock(self.path, RUN_FILE, settings, "a training", fingerprints)
        if lock.is_stored():
            lock.require_same(read_description(self.path)["settings"])
        else:
            content = {"format": FORMAT, "settings": lock.settings, "facts": facts}
            write_text(lock.path, json.dumps(content, indent=1, sort_keys=True) + "\n")
        remove_temporaries(self.path)

    def commit(
        self,
        model: RecurrentModel,
        optimizer: Mapping[int, Mapping[str, Tensor]],
        epoch: int,
        rows: list[dict[str, Any]],
    ) -> None:
        """Write a complete epoch; see `TrainingState`.

        Raises:
            OutputError: the folder cannot be written.
        """
        losses = {row["split"]: row["loss"] for row in rows if row["epoch"] == epoch}
        save_model(model, snapshot_folder(self.path, epoch), epoch=epoch, loss=losses)
        tensors = {
            f"{number}.{name}": value.detach().cpu()
            for number, values in optimizer.items()
            for name, value in values.items()
        }
        description = json.dumps({"format": FORMAT, "epoch": epoch, "rows": rows})
        with atomic_file(self.path / _STATE_FILE) as new:
            # Written as bytes: safetensors' own file writer leaves a partial file if it is killed.
            new.write_bytes(save(tensors, metadata={_META: description}))
        self.write_curves(rows)

    def state(self) -> TrainingState | None:
        """Return the state after the last complete epoch; None before the first.

        Raises:
            SnapshotError: the state file is damaged.
        """
        file = self.path / _STATE_FILE
        if not file.exists():
            return None
        try:
            optimizer: dict[int, dict[str, Tensor]] = {}
            with safe_open(file, framework="pt") as content:
                description = json.loads(content.metadata()[_META])
                for key in content.keys():  # noqa: SIM118 (no mapping)
                    number, name = key.split(".")
                    optimizer.setdefault(int(number), {})[name] = content.get_tensor(key)
            epoch, rows = description["epoch"], description["rows"]
            complete = rows and all({"epoch", "split", "loss"} <= set(row) for row in rows)
            if type(epoch) is not int or not complete:
                raise ValueError("no epoch or no curves in it")
            return TrainingState(epoch, rows, optimizer)
        except (
            SafetensorError,
            OSError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            RecursionError,
        ) as error:
            raise SnapshotError(
                f"{file}: damaged: {in_one_line(error)}; remove {self.path} and start the training again"
            ) from error

    def write_curves(self, rows: list[dict[str, Any]]) -> None:
        """Replace the table of the curves.

        Raises:
            OutputError: the folder cannot be written.
        """
        with atomic_file(self.path / CURVES_FILE) as new:
            metrics = {name: pl.Float64 for name in rows[0] if name not in ("epoch", "split")}
            pl.DataFrame(rows, schema={"epoch": pl.Int64, "split": pl.String, **metrics}).write_parquet(new)
