"""Callback for the `Trainer` of Lightning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from txray.analysis import Timeline
from txray.models import TextModel
from txray.tracking.collect_spec import CollectSpec
from txray.tracking.history import Unit
from txray.tracking.tracker import Tracker
from txray.training._lightning import pl
from txray.training.module import TrainingModule

Progress = tuple[int, Mapping[str, float]]
"""Completed steps or epochs, and the metrics of the model."""


class LightningCallback(pl.Callback):
    """Tracks a training by `lightning.pytorch.Trainer`.

    The trainings of txray take it as well: `train_language_model(..., callbacks=[LightningCallback(...)])`.

    In distributed training, the first process measures the whole model. Models whose weights are sharded over
    processes (FSDP, ZeRO-3) cannot be measured during training: replay their checkpoints.

    Attributes:
        tracker: the tracker.
        timelines: feature type -> timeline, after the training.

    Example:
        >>> Trainer(callbacks=[LightningCallback(spec, "run/txray", unit="epoch")]).fit(module)
    """

    def __init__(
        self,
        spec: CollectSpec,
        folder: Path | str,
        *,
        every: int = 1,
        unit: Unit = "epoch",
        as_model: Callable[[pl.LightningModule], nn.Module | TextModel] | None = None,
        progress: Callable[[pl.Trainer, pl.LightningModule], Progress] | None = None,
        **options: Any,
    ) -> None:
        """Check the arguments; nothing is collected yet.

        Args:
            spec: text, layers and feature types to collect.
            folder: folder of the results.
            every, unit: number of optimizer steps or epochs between measurements.
            as_model: Lightning module -> model for `txray.collect`; its attribute `model` by default.
            progress: (trainer, module) -> completed steps or epochs, and metrics; by default the trainer's counter and
                `callback_metrics`.
            options: options of `txray.Tracker`: budget, loggers, figures, weight, permutations, fdr, seed.
        """
        self.tracker = Tracker(spec, folder, every=every, unit=unit, as_model=as_model or _inner, **options)
        self.timelines: Mapping[str, Timeline] = {}
        self._unit = unit
        self._progress = progress

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the model before it is trained."""
        if trainer.is_global_zero:
            number, metrics = self._completed(trainer, pl_module, epochs=_started_epochs(trainer))
            self.tracker.begin(pl_module, number, metrics)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take a measurement if one is due."""
        if trainer.is_global_zero and self._unit == "step" and trainer.global_step != self.tracker.number:
            self._on_step(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take a measurement if one is due."""
        if trainer.is_global_zero and self._unit == "epoch":
            self._on_step(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the last measurement, and write the timelines."""
        if trainer.is_global_zero:
            self.timelines = self.tracker.end(pl_module)

    def _on_step(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        number, metrics = self._completed(trainer, module, epochs=trainer.current_epoch + 1)
        self.tracker.on_step(module, number, metrics)

    def _completed(self, trainer: pl.Trainer, module: pl.LightningModule, epochs: int) -> Progress:
        if self._progress is not None:
            return self._progress(trainer, module)
        if isinstance(module, TrainingModule):
            return module.last_epoch
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        return (trainer.global_step if self._unit == "step" else epochs), metrics


def _started_epochs(trainer: pl.Trainer) -> int:
    """Return the epochs completed or started: a training that resumes within one is past its last measurement."""
    batches = trainer.fit_loop.epoch_loop.batch_progress
    return trainer.current_epoch + (batches.current.ready > 0 and not batches.is_last_batch)


def _inner(module: pl.LightningModule) -> nn.Module | TextModel:
    inner = getattr(module, "model", None)
    return inner if isinstance(inner, nn.Module | TextModel) else module
