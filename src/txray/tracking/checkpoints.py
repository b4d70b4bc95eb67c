"""Checkpoints of a training by txray, transformers or Lightning, in the order of training."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import nn, serialization

from txray.errors import SnapshotError, UnknownNameError, UsageError, in_one_line
from txray.identity import derived, identity_of
from txray.models import TextModel, hugging_face, load_model, load_snapshot, snapshot_metadata
from txray.models.folders import ADAPTER_CONFIG, is_model_folder
from txray.models.snapshot import MODEL
from txray.tracking.history import UNITS, Unit
from txray.tracking.trainer_state import checkpoint_state, logged_metrics
from txray.training.run import RUN_FILE, load_run

Load = Callable[[], "nn.Module | TextModel"]
Base = str | Path | Load
"""A base model: the name of a model, as for `txray.load_model`, or a function that makes it."""

_LIGHTNING = ".ckpt"
_LAST = re.compile(r"last(?:-v\d+)?\.ckpt")
"""File name of Lightning's copy of the latest checkpoint (`ModelCheckpoint(save_last=True)`)."""
_HUGGING_FACE = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True)
class Checkpoint:
    """A saved model of a training.

    Attributes:
        path: folder or file.
        number: completed steps or epochs.
        load: loads the model.
        metrics: metrics that the training stored.
        base: fingerprint of the base model's name or function, if one was passed.
    """

    path: Path
    number: int
    load: Load
    metrics: Mapping[str, float] = field(default_factory=dict)
    base: str = ""

    @property
    def source(self) -> str:
        """Hash of the names, sizes and times of its files, and of its base; it changes when the checkpoint does."""
        files = sorted(self.path.iterdir()) if self.path.is_dir() else [self.path]
        stats = [
            (file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()
        ]
        return f"{self.path.name}: {derived(self.base, stats)}"


def find_checkpoints(
    paths: Sequence[Path | str],
    *,
    unit: Unit | None = None,
    base: Base | None = None,
    prefix: str = "model.",
) -> tuple[Unit, list[Checkpoint]]:
    """Return the checkpoints at the given paths, in the order of training.

    Args:
        paths: folders of a training by txray, or of its epochs; `checkpoint-500` folders of transformers, or a folder
            of these, optionally after the folder of the untrained model; `.ckpt` files of Lightning, or a folder of
            these, where a `last.ckpt` of the same step as another file is left out.
        unit: number checkpoints by step or by epoch; by default epochs for trainings by txray, steps for others.
        base: the model that Lightning's weights belong to, because their files do not describe it, or the base of
            adapters of PEFT, if it is not where their configuration says: a name as for `txray.load_model`, or, for
            Lightning, a function that makes the model.
        prefix: prefix of the names of Lightning's weights.

    Returns:
        The unit, and the checkpoints.

    Raises:
        SnapshotError: a path without a checkpoint, or a damaged checkpoint.
        UnknownNameError: an unknown unit.
        UsageError: two checkpoints of one number, checkpoints of different formats, or a checkpoint without a number.
    """
    if unit is not None and unit not in UNITS:
        raise UnknownNameError.of("unit", unit, UNITS)
    checkpoints: list[Checkpoint] = []
    base_fingerprint = "" if base is None else identity_of(base, prefix)
    for path in map(Path, paths):
        if path.is_dir() and ((path / RUN_FILE).is_file() or (path / MODEL).is_file()):
            if unit == "step":
                raise UsageError(f"{path}: snapshots of txray are numbered by epochs; replay them by epochs")
            unit = "epoch"
            checkpoints += _of_txray(path)
            continue
        unit = unit or "step"
        for checkpoint in _expanded(path):
            if checkpoint.suffix == _LIGHTNING:
                checkpoints.append(_of_lightning(checkpoint, unit, base, prefix, base_fingerprint))
            else:
                one = _of_transformers(checkpoint, unit, base, first=not checkpoints)
                checkpoints.append(replace(one, base=base_fingerprint))
    checkpoints.sort(key=lambda checkpoint: checkpoint.number)
    for one, other in pairwise(checkpoints):
        if one.number == other.number:
            raise UsageError(f"{one.path} and {other.path} are both {unit} {one.number}; leave one out")
    if not checkpoints:
        raise UsageError("replay: no checkpoints; name at least two")
    return unit or "step", checkpoints


def _expanded(path: Path) -> list[Path]:
    """Return a checkpoint, or those in a folder."""
    if path.suffix == _LIGHTNING or is_model_folder(path):
        return [path]
    candidates = [
        file for file in path.glob("*") if _HUGGING_FACE.fullmatch(file.name) or file.suffix == _LIGHTNING
    ]
    if not candidates:
        raise SnapshotError(
            f"{path}: no checkpoint; name snapshots of txray, checkpoint-500 folders of transformers, .ckpt files of "
            "Lightning, or a folder of these"
        )
    return [checkpoint for checkpoint in sorted(candidates) if not _is_copy(checkpoint, candidates)]


def _is_copy(file: Path, files: Sequence[Path]) -> bool:
    """Return True if a file is Lightning's `last.ckpt` of the same step as another file beside it."""
    if not _LAST.fullmatch(file.name):
        return False
    others = [other for other in files if other.suffix == _LIGHTNING and not _LAST.fullmatch(other.name)]
    step = _read_lightning(file).get("global_step")
    return any(_read_lightning(other).get("global_step") == step for other in others)


def _of_txray(path: Path) -> list[Checkpoint]:
    run = path if (path / RUN_FILE).is_file() else path.parent
    curves = load_run(run).curves if (run / RUN_FILE).is_file() else None
    if run == path:
        snapshots = load_run(run).snapshots
    else:
        epoch = snapshot_metadata(path).get("epoch")
        if not isinstance(epoch, int):
            raise UsageError(f"{path}: does not state its epoch; name the folder of its training")
        snapshots = {epoch: path}
    return [
        Checkpoint(folder, epoch, partial(load_snapshot, folder), _validation_metrics(curves, epoch))
        for epoch, folder in snapshots.items()
    ]


def _validation_metrics(curves: pl.DataFrame | None, epoch: int) -> dict[str, float]:
    """Return the validation metrics of an epoch."""
    if curves is None:
        return {}
    rows = curves.filter((pl.col("epoch") == epoch) & (pl.col("split") == "validation"))
    metrics = rows.drop("epoch", "split").row(0, named=True) if len(rows) else {}
    return {name: float(value) for name, value in metrics.items() if value is not None}


def _of_transformers(folder: Path, unit: Unit, base: Base | None, *, first: bool) -> Checkpoint:
    load = partial(hugging_face, folder, head="saved")
    if isinstance(base, str | Path) and (folder / ADAPTER_CONFIG).is_file():
        load = partial(load, base=base)
    state = checkpoint_state(folder)
    if state is None:
        name = _HUGGING_FACE.fullmatch(folder.name)
        if name is None and not first:
            raise UsageError(f"{folder}: does not state its {unit}; only the first, untrained model need not")
        if name is not None and unit == "epoch" and int(name[1]):
            raise UsageError(f"{folder}: does not state its epoch; replay by steps")
        return Checkpoint(folder, int(name[1]) if name else 0, load)
    number = int(state["global_step"])
    if unit == "epoch":
        number = round(state["epoch"])
        if abs(state["epoch"] - number) > 1e-6:
            raise UsageError(f"{folder}: was saved within epoch {state['epoch']:.2f}; replay by steps")
    return Checkpoint(folder, number, load, logged_metrics(state["log_history"], number, unit))


def _of_lightning(
    file: Path, unit: Unit, base: Base | None, prefix: str, base_fingerprint: str
) -> Checkpoint:
    if base is None:
        raise UsageError(f"{file}: holds weights only; pass base, the model that they belong to")
    if isinstance(base, str | Path):
        base = partial(load_model, base, head="saved")
    content = _read_lightning(file)
    number = content.get("global_step" if unit == "step" else "epoch")
    if type(number) is not int or number < 0:
        raise UsageError(f"{file}: does not state its {unit}; leave it out")
    # Lightning stores the index of the current epoch; a checkpoint saved at its end has completed one more.
    number += unit == "epoch"
    return Checkpoint(file, number, partial(_with_weights, file, base, prefix), base=base_fingerprint)


class _Unread:
    """Replaces values of classes that torch does not consider safe, so that none of their code runs."""

    def __new__(cls, *arguments: object) -> _Unread:
        return super().__new__(cls)

    def __init__(self, *arguments: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def _read_lightning(file: Path) -> dict[str, Any]:
    unread: list[str] = []
    try:
        # Hyperparameters may hold objects of any class, and are not needed.
        unread = sorted(serialization.get_unsafe_globals_in_checkpoint(file))
        with serialization.safe_globals([(_Unread, name) for name in unread]):
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        weights = content["state_dict"]
        if not (isinstance(weights, dict) and all(isinstance(name, str) for name in weights)):
            raise TypeError("no weights")
    except Exception as error:  # a file from anywhere, damaged in any way
        if not unread:
            raise SnapshotError(
                f"{file}: not a Lightning checkpoint, or damaged ({in_one_line(error)}); leave it out"
            ) from error
        raise SnapshotError(
            f"{file}: holds {', '.join(unread[:5])}{', ...' if len(unread) > 5 else ''} among its weights or "
            f"hyperparameters, which is not read because it could run code ({in_one_line(error)}); train with "
            "save_hyperparameters(ignore=[...]) for such values, or, if you trust the file, load it yourself and save "
            "only its entries state_dict, global_step and epoch"
        ) from error
    loaded: dict[str, Any] = content
    return loaded


def _with_weights(file: Path, base: Load, prefix: str) -> nn.Module | TextModel:
    model = base()
    module = model.module if isinstance(model, TextModel) else model
    weights = {
        name.removeprefix(prefix): value
        for name, value in _read_lightning(file)["state_dict"].items()
        if name.startswith(prefix)
    }
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise SnapshotError(
            f"{file}: the weights whose names begin with {prefix!r} do not fit the base model: "
            f"{in_one_line(error, 300)}"
        ) from error
    module.eval()
    return model
