"""A tracker inside the `Trainer` of Lightning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from txray.analysis import Timeline
from txray.models import TextModel
from txray.tracking.collect_spec import CollectSpec
from txray.tracking.tracker import Tracker, Unit
from txray.training._lightning import pl
from txray.training.module import TrainingModule

Progress = tuple[int, Mapping[str, float]]
"""Steps or epochs done, and the scores of the model."""


class LightningCallback(pl.Callback):
    """Watches a training by `lightning.pytorch.Trainer`.

    ```python
    Trainer(callbacks=[LightningCallback(probe, "run/txray", unit="epoch")]).fit(module)
    ```

    The trainings of txray take it as well: `train_language_model(..., callbacks=[LightningCallback(...)])`.

    Where several processes train, the first one looks, at the whole model; models whose weights are spread over
    processes (FSDP, ZeRO-3) cannot be looked at while they are trained: replay their checkpoints.

    Attributes:
        tracker: that does the work.
        timelines: feature type -> timeline, once training has ended.
    """

    def __init__(
        self,
        probe: CollectSpec,
        folder: Path | str,
        *,
        every: int = 1,
        unit: Unit = "epoch",
        as_model: Callable[[pl.LightningModule], nn.Module | TextModel] | None = None,
        progress: Callable[[pl.Trainer, pl.LightningModule], Progress] | None = None,
        **options: Any,
    ) -> None:
        """Nothing is collected yet.

        Args:
            probe: what is collected.
            folder: for everything that is kept.
            every, unit: so many steps of the optimizer, or epochs, from one look to the next.
            as_model: the Lightning module -> what `txray.collect` takes; by default its attribute `model`.
            progress: what is done, and the scores; by default the trainer's count, and the metrics that callbacks
                can see.
            options: see `txray.Tracker`: budget, loggers, figures, weight, permutations, level, seed.
        """
        self.tracker = Tracker(probe, folder, every=every, unit=unit, as_model=as_model or _inner, **options)
        self.timelines: Mapping[str, Timeline] = {}
        self._unit = unit
        self._progress = progress

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the model before it is trained."""
        if trainer.is_global_zero:
            number, scores = self._done(trainer, pl_module, epochs=_begun(trainer))
            self.tracker.begin(pl_module, number, scores)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look where a look is due."""
        if trainer.is_global_zero and self._unit == "step" and trainer.global_step != self.tracker.number:
            self._reached(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look where a look is due."""
        if trainer.is_global_zero and self._unit == "epoch":
            self._reached(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look once more, and tell the story."""
        if trainer.is_global_zero:
            self.timelines = self.tracker.end(pl_module)

    def _reached(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        number, scores = self._done(trainer, module, epochs=trainer.current_epoch + 1)
        self.tracker.reached(module, number, scores)

    def _done(self, trainer: pl.Trainer, module: pl.LightningModule, epochs: int) -> Progress:
        if self._progress is not None:
            return self._progress(trainer, module)
        if isinstance(module, TrainingModule):
            return module.last_epoch
        scores = {name: float(value) for name, value in trainer.callback_metrics.items()}
        return (trainer.global_step if self._unit == "step" else epochs), scores


def _begun(trainer: pl.Trainer) -> int:
    """Epochs done, or begun: a training that goes on within one is no longer what was looked at before it."""
    batches = trainer.fit_loop.epoch_loop.batch_progress
    return trainer.current_epoch + (batches.current.ready > 0 and not batches.is_last_batch)


def _inner(module: pl.LightningModule) -> nn.Module | TextModel:
    inner = getattr(module, "model", None)
    return inner if isinstance(inner, nn.Module | TextModel) else module
