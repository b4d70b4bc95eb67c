"""Replay of a training: the stages and the timeline of a tracker, from saved checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from txray.analysis import Timeline
from txray.errors import UsageError
from txray.models import TextModel
from txray.progress import progress
from txray.tracking.checkpoints import Base, Checkpoint, find_checkpoints
from txray.tracking.collect_spec import CollectSpec
from txray.tracking.history import Unit
from txray.tracking.tracker import Tracker


def replay(
    checkpoints: Sequence[Path | str] | Path | str,
    spec: CollectSpec,
    folder: Path | str,
    *,
    unit: Unit | None = None,
    base: Base | None = None,
    prefix: str = "model.",
    device: str = "cpu",
    **options: Any,
) -> dict[str, Timeline]:
    """Measure every checkpoint of a training, in order, as a `Tracker` would have measured the model.

    Stages of unchanged checkpoints are reused, so an interrupted replay resumes, even in the middle of a collection,
    and checkpoints that were saved since are added.

    Args:
        checkpoints: one path or several; see `txray.tracking.find_checkpoints`.
        spec: text, layers and feature types to collect.
        folder: folder of the results; see `Tracker`.
        unit: number stages by step or by epoch; by default epochs for trainings by txray, steps for others.
        base, prefix: for adapters and Lightning checkpoints, see `txray.tracking.find_checkpoints`.
        device: device of the models.
        options: options of `Tracker`: loggers, figures, weight, permutations, fdr, seed.

    Returns:
        Feature type -> timeline.

    Raises:
        UsageError: fewer than two checkpoints, or invalid arguments of `find_checkpoints` or `Tracker`.
        SnapshotError: a checkpoint that cannot be read.
        TxrayError: errors of `txray.collect`.

    Example:
        >>> timelines = replay("checkpoints", txray.CollectSpec(text, ["encoder.layer.*"]), "replayed")
    """
    if isinstance(checkpoints, str | Path):
        checkpoints = [checkpoints]
    unit, ordered = find_checkpoints(checkpoints, unit=unit, base=base, prefix=prefix)
    if len(ordered) < 2:
        raise UsageError(f"replay: {ordered[0].path} is the only checkpoint; name at least two")
    tracker = Tracker(spec, folder, unit=unit, **options)
    tracker.drop_other(checkpoint.number for checkpoint in ordered)
    with progress("replaying", len(ordered), unit="checkpoints") as advance:
        for checkpoint in ordered:
            tracker.measure_checkpoint(
                partial(_loaded, checkpoint, device),
                checkpoint.number,
                metrics=checkpoint.metrics,
                source=checkpoint.source,
            )
            advance()
    return tracker.finalize()


def _loaded(checkpoint: Checkpoint, device: str) -> nn.Module | TextModel:
    return checkpoint.load().to(device)
