"""The story of a training told afterwards, from the checkpoints that it left."""

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
from txray.tracking.checkpoints import Checkpoint, Load, find_checkpoints
from txray.tracking.collect_spec import CollectSpec
from txray.tracking.tracker import Tracker, Unit


def replay(
    checkpoints: Sequence[Path | str] | Path | str,
    probe: CollectSpec,
    folder: Path | str,
    *,
    unit: Unit | None = None,
    base: Load | None = None,
    prefix: str = "model.",
    device: str = "cpu",
    **options: Any,
) -> dict[str, Timeline]:
    """Look at every checkpoint of a training, in order, as a `Tracker` would have looked at the model.

    Stages that are there already, of checkpoints that have not changed, are kept: an interrupted replay goes on where
    it stopped, within a collection too, and checkpoints that have come since are added.

    Args:
        checkpoints: one path or several; see `txray.tracking.find_checkpoints`.
        probe: what is collected.
        folder: for everything that is kept; see `Tracker`.
        unit: what numbers the stages; by default epochs for trainings by txray, steps for others.
        base, prefix: for checkpoints of Lightning, see `txray.tracking.find_checkpoints`.
        device: that models run on.
        options: see `Tracker`: loggers, figures, weight, permutations, fdr, seed.

    Returns:
        Feature type -> timeline.

    Raises:
        UsageError: fewer than two checkpoints, or what `find_checkpoints` and `Tracker` refuse.
        SnapshotError: a checkpoint that cannot be read.
        TxrayError: what `txray.collect` raises.
    """
    if isinstance(checkpoints, str | Path):
        checkpoints = [checkpoints]
    chosen, found = find_checkpoints(checkpoints, unit=unit, base=base, prefix=prefix)
    if len(found) < 2:
        raise UsageError(f"replay: {found[0].path} is the only checkpoint; name at least two")
    tracker = Tracker(probe, folder, unit=chosen, **options)
    tracker.keep_only(checkpoint.number for checkpoint in found)
    with progress("replaying", len(found), unit="checkpoints") as advance:
        for checkpoint in found:
            tracker.take(
                partial(_loaded, checkpoint, device),
                checkpoint.number,
                scores=checkpoint.scores,
                source=checkpoint.source,
            )
            advance()
    return tracker.tell()


def _loaded(checkpoint: Checkpoint, device: str) -> nn.Module | TextModel:
    return checkpoint.load().to(device)
