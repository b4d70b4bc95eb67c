"""The folder of a training run: claimed by its settings, advanced one whole epoch at a time."""

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

from txray.errors import SnapshotError, UsageError, in_one_line
from txray.files import atomic_file, remove_temporaries, write_text
from txray.models import RecurrentModel, save_model
from txray.training.run import CURVES_FILE, FORMAT, RUN_FILE, read_description, snapshot_folder

_STATE_FILE = "state.safetensors"
_META = "txray"


@dataclass(frozen=True, eq=False)
class State:
    """Where a training stands after a complete epoch.

    Attributes:
        epoch: the latest complete one.
        rows: of the curves, up to this epoch.
        optimizer: parameter number -> name -> value.
    """

    epoch: int
    rows: list[dict[str, Any]]
    optimizer: dict[int, dict[str, Tensor]]


@dataclass(frozen=True)
class RunFolder:
    """Reads and writes one run.

    An epoch is complete once its state file is in place: the snapshot is written before it, and the
    curves, which the state holds as well, after it. Each step is atomic, so a run that is killed anywhere
    goes on from its last complete epoch.

    Attributes:
        path: the folder.
    """

    path: Path

    def claim(self, settings: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """Make the folder that of a run with these settings, or check that it is.

        Raises:
            UsageError: it belongs to a run with other settings, or holds something else.
            SnapshotError: its description is damaged.
        """
        settings = json.loads(json.dumps(settings))
        if (self.path / RUN_FILE).exists():
            _check_same(self.path, read_description(self.path)["settings"], settings)
        elif self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise UsageError(
                f"{self.path}: holds something that is no training run; give a new or empty folder"
            )
        else:
            content = {"format": FORMAT, "settings": settings, "facts": facts}
            write_text(self.path / RUN_FILE, json.dumps(content, indent=1, sort_keys=True) + "\n")
        remove_temporaries(self.path)

    def commit(
        self,
        model: RecurrentModel,
        optimizer: Mapping[int, Mapping[str, Tensor]],
        epoch: int,
        rows: list[dict[str, Any]],
    ) -> None:
        """Write a complete epoch.

        Args:
            model: after the epoch.
            optimizer: parameter number -> name -> value, after the epoch.
            epoch: its number, 0 for the untrained model.
            rows: of the curves, up to this epoch.

        Raises:
            OutputError: the place cannot be written.
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
            # As bytes: when it writes a file on its own, safetensors leaves a torso beside it if it is killed.
            new.write_bytes(save(tensors, metadata={_META: description}))
        self.write_curves(rows)

    def state(self) -> State | None:
        """Where the run stands; None before its first complete epoch.

        Raises:
            SnapshotError: the state is damaged.
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
            if (
                type(epoch) is not int
                or not rows
                or not all({"epoch", "split", "loss"} <= set(row) for row in rows)
            ):
                raise ValueError("it does not say how far the training came")
            return State(epoch, rows, optimizer)
        except (
            SafetensorError,
            OSError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            RecursionError,
        ) as error:
            text = in_one_line(error)
            raise SnapshotError(
                f"{file}: damaged: {text}; remove {self.path} and start the training again"
            ) from error

    def write_curves(self, rows: list[dict[str, Any]]) -> None:
        """Replace the table of the curves.

        Raises:
            OutputError: the place cannot be written.
        """
        with atomic_file(self.path / CURVES_FILE) as new:
            scores = {name: pl.Float64 for name in rows[0] if name not in ("epoch", "split")}
            pl.DataFrame(rows, schema={"epoch": pl.Int64, "split": pl.String, **scores}).write_parquet(new)


def _check_same(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with a run of other settings; what is known by its fingerprint is only named."""
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if old == new:
            continue
        if name == "text" and isinstance(old, dict) and isinstance(new, dict):
            split = next(split for split in sorted({*old, *new}) if old.get(split) != new.get(split))
            difference = f"the text of {split!r} differs"
        elif name in ("weights", "vocabulary"):
            difference = f"the model's {name} differ"
        elif isinstance(old, dict) and isinstance(new, dict):
            _check_same(folder, old, new)
            continue
        else:
            difference = f"it has {name}={old!r}, asked for is {name}={new!r}"
        raise UsageError(
            f"{folder}: holds another training: {difference}; "
            "use the same settings to go on, or another folder to start anew"
        )
