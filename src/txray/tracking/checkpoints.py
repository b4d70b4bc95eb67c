"""Models that a training left behind, in order: those of txray, of transformers, and of Lightning."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import nn, serialization

from txray.errors import SnapshotError, UnknownNameError, UsageError, in_one_line
from txray.identity import derived, identity_of
from txray.models import TextModel, hugging_face, load_snapshot, snapshot_metadata
from txray.models.huggingface import CONFIG
from txray.models.snapshot import MODEL
from txray.tracking.tracker import UNITS, Unit
from txray.tracking.trainer_state import checkpoint_state, logged_scores
from txray.training.run import RUN_FILE, load_run

Load = Callable[[], "nn.Module | TextModel"]

_LIGHTNING = ".ckpt"
_LAST = re.compile(r"last(?:-v\d+)?\.ckpt")
"""What Lightning calls a copy of the latest checkpoint (`ModelCheckpoint(save_last=True)`)."""
_HUGGING_FACE = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True)
class Checkpoint:
    """A model as it was at one moment of its training.

    Attributes:
        path: of the folder or file.
        number: of steps or epochs that it had been trained for.
        load: reads it.
        scores: that the training wrote down.
        base: fingerprint of what makes the model that the weights are put into, where the file does not tell.
    """

    path: Path
    number: int
    load: Load
    scores: Mapping[str, float] = field(default_factory=dict)
    base: str = ""

    @property
    def source(self) -> str:
        """Return a hash of names, sizes and times of its files and of its base: it changes when the checkpoint does."""
        files = sorted(self.path.iterdir()) if self.path.is_dir() else [self.path]
        told = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]
        return f"{self.path.name}: {derived(self.base, told)}"


def find_checkpoints(
    paths: Sequence[Path | str],
    *,
    unit: Unit | None = None,
    base: Load | None = None,
    prefix: str = "model.",
) -> tuple[Unit, list[Checkpoint]]:
    """The checkpoints that paths stand for, in the order of training.

    Args:
        paths: folders of a training of txray, or of its epochs; folders `checkpoint-500` of transformers, or a folder
            of such, and before them, where wanted, the folder of the untrained model; files `.ckpt` of Lightning, or
            a folder of such, in which a `last.ckpt` of the same step as another one is left out.
        unit: what numbers them; by default epochs for txray's own, steps for the others.
        base: makes a model for Lightning's weights, which do not tell what they are of.
        prefix: of the names of these weights in a checkpoint of Lightning.

    Returns:
        The unit, and the checkpoints.

    Raises:
        SnapshotError: a path that holds no checkpoint, or one that is damaged.
        UnknownNameError: an unknown unit.
        UsageError: two of one number, checkpoints of different kinds, or a number that a checkpoint does not tell.
    """
    if unit is not None and unit not in UNITS:
        raise UnknownNameError.of("unit", unit, UNITS)
    found: list[Checkpoint] = []
    chosen = unit
    made_by = "" if base is None else identity_of(base, prefix)
    for path in map(Path, paths):
        if path.is_dir() and ((path / RUN_FILE).is_file() or (path / MODEL).is_file()):
            if chosen == "step":
                raise UsageError(f"{path}: snapshots of txray are numbered by epochs; replay them by epochs")
            chosen = "epoch"
            found += _of_txray(path)
            continue
        chosen = chosen or "step"
        for each in _expanded(path):
            if each.suffix == _LIGHTNING:
                found.append(_of_lightning(each, chosen, base, prefix, made_by))
            else:
                found.append(_of_transformers(each, chosen, first=not found))
    found.sort(key=lambda checkpoint: checkpoint.number)
    for one, other in pairwise(found):
        if one.number == other.number:
            raise UsageError(f"{one.path} and {other.path} are both {chosen} {one.number}; leave one out")
    if not found:
        raise UsageError("replay: no checkpoints; name at least two")
    return chosen or "step", found


def _expanded(path: Path) -> list[Path]:
    """A checkpoint, or those in a folder."""
    if path.suffix == _LIGHTNING or (path / CONFIG).is_file():
        return [path]
    inside = [
        each for each in path.glob("*") if _HUGGING_FACE.fullmatch(each.name) or each.suffix == _LIGHTNING
    ]
    if not inside:
        raise SnapshotError(
            f"{path}: no checkpoint; name snapshots of txray, folders checkpoint-500 of transformers, files .ckpt of "
            "Lightning, or a folder of such"
        )
    return [checkpoint for checkpoint in sorted(inside) if not _is_copy(checkpoint, inside)]


def _is_copy(file: Path, files: Sequence[Path]) -> bool:
    """Return whether a file is a `last.ckpt` of Lightning of the same step as another one beside it."""
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
            raise UsageError(f"{path}: does not tell its epoch; name the folder of its training")
        snapshots = {epoch: path}
    return [
        Checkpoint(folder, epoch, partial(load_snapshot, folder), _of_curves(curves, epoch))
        for epoch, folder in snapshots.items()
    ]


def _of_curves(curves: pl.DataFrame | None, epoch: int) -> dict[str, float]:
    """The validation scores of an epoch."""
    if curves is None:
        return {}
    rows = curves.filter((pl.col("epoch") == epoch) & (pl.col("split") == "validation"))
    scores = rows.drop("epoch", "split").row(0, named=True) if len(rows) else {}
    return {name: float(value) for name, value in scores.items() if value is not None}


def _of_transformers(folder: Path, unit: Unit, *, first: bool) -> Checkpoint:
    state = checkpoint_state(folder)
    if state is None:
        numbered = _HUGGING_FACE.fullmatch(folder.name)
        if numbered is None and not first:
            raise UsageError(f"{folder}: does not tell its {unit}; only the first, untrained model need not")
        if numbered is not None and unit == "epoch" and int(numbered[1]):
            raise UsageError(f"{folder}: does not tell its epoch; replay by steps")
        number = int(numbered[1]) if numbered else 0
        return Checkpoint(folder, number, partial(hugging_face, folder, head="saved"))
    number = int(state["global_step"])
    if unit == "epoch":
        number = round(state["epoch"])
        if abs(state["epoch"] - number) > 1e-6:
            raise UsageError(f"{folder}: was saved within epoch {state['epoch']:.2f}; replay by steps")
    scores = logged_scores(state["log_history"], number, unit)
    return Checkpoint(folder, number, partial(hugging_face, folder, head="saved"), scores)


def _of_lightning(file: Path, unit: Unit, base: Load | None, prefix: str, made_by: str) -> Checkpoint:
    if base is None:
        raise UsageError(f"{file}: holds weights only; give base, the model that they are of")
    content = _read_lightning(file)
    number = content.get("global_step" if unit == "step" else "epoch")
    if type(number) is not int or number < 0:
        raise UsageError(f"{file}: does not tell its {unit}; leave it out")
    # Lightning counts the epoch that it is in: the checkpoint of its end is of one more.
    number += unit == "epoch"
    return Checkpoint(file, number, partial(_with_weights, file, base, prefix), base=made_by)


class _Unread:
    """Stands for a value of any class that torch does not consider safe, so that none of its code runs."""

    def __new__(cls, *arguments: object) -> _Unread:
        return super().__new__(cls)

    def __init__(self, *arguments: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def _read_lightning(file: Path) -> dict[str, Any]:
    unread: list[str] = []
    try:
        # Hyperparameters may hold anything, and are of no use here.
        unread = sorted(serialization.get_unsafe_globals_in_checkpoint(file))
        with serialization.safe_globals([(_Unread, name) for name in unread]):
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        weights = content["state_dict"]
        if not (isinstance(weights, dict) and all(isinstance(name, str) for name in weights)):
            raise TypeError("no weights")
    except Exception as error:  # a file of anybody's, damaged in any way
        if not unread:
            raise SnapshotError(
                f"{file}: no checkpoint of Lightning, or a damaged one ({in_one_line(error)}); leave it out"
            ) from error
        raise SnapshotError(
            f"{file}: holds {', '.join(unread[:5])}{', ...' if len(unread) > 5 else ''} among its weights or "
            f"hyperparameters, which is not read because it could run code ({in_one_line(error)}); train with "
            "save_hyperparameters(ignore=[...]) for such values, or, if you trust the file, load it yourself and save "
            "its entries state_dict, global_step and epoch alone"
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
            f"{file}: its weights, those whose names begin with {prefix!r}, are not those of the base model: "
            f"{in_one_line(error, 300)}"
        ) from error
    module.eval()
    return model
