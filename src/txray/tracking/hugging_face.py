"""Callback for the `Trainer` of transformers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil
from pathlib import Path
from typing import Any

from torch import nn

from txray._optional import import_extra
from txray.errors import UsageError
from txray.models import TextModel, from_transformers
from txray.tracking.collect_spec import CollectSpec
from txray.tracking.history import Unit
from txray.tracking.tracker import Tracker
from txray.tracking.trainer_state import logged_metrics

import_extra("the callback for transformers needs", "hf", "transformers")
from transformers import TrainerCallback  # noqa: E402  # after the check, which names the extra to install


class HuggingFaceCallback(TrainerCallback):
    """Tracks a training by `transformers.Trainer`.

    In distributed training, the first process measures the whole model. Models whose weights are sharded over
    processes (FSDP, ZeRO-3) cannot be measured during training: replay their checkpoints.

    Attributes:
        tracker: the tracker.
        timelines: feature type -> timeline, after the training.

    Example:
        >>> callback = HuggingFaceCallback(spec, "run/txray", every=500)
        >>> Trainer(model, arguments, train_dataset=data, processing_class=tokenizer, callbacks=[callback]).train()
    """

    def __init__(
        self,
        spec: CollectSpec,
        folder: Path | str,
        *,
        every: int = 500,
        unit: Unit = "step",
        as_model: Callable[[nn.Module, Any], nn.Module | TextModel] | None = None,
        **options: Any,
    ) -> None:
        """Check the arguments; nothing is collected yet.

        Args:
            spec: text, layers and feature types to collect.
            folder: folder of the results.
            every, unit: number of steps or epochs between measurements.
            as_model: (model, processing class of the trainer) -> model for `txray.collect`;
                `txray.models.from_transformers` by default.
            options: options of `txray.Tracker`: budget, loggers, figures, weight, permutations, fdr, seed.
        """
        self.tracker = Tracker(spec, folder, every=every, unit=unit, as_model=self._converted, **options)
        self.timelines: Mapping[str, Any] = {}
        self._unit = unit
        self._as_model = as_model or _with_tokenizer
        self._tokenizer: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure the model before it is trained."""
        if state.is_world_process_zero:
            self._tokenizer = kwargs.get("processing_class")
            self.tracker.begin(kwargs["model"], self._number(state))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take a measurement if one is due."""
        if not state.is_world_process_zero:
            return
        if self._unit == "step":
            self.tracker.on_step(kwargs["model"], state.global_step)
            self._measure_before_best(args, control, kwargs)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take a measurement if one is due."""
        if not state.is_world_process_zero:
            return
        if self._unit == "epoch":
            self.tracker.on_step(kwargs["model"], self._number(state))
        self._measure_before_best(args, control, kwargs)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take the last measurement if an evaluation has stopped the training."""
        if state.is_world_process_zero:
            self._measure_before_best(args, control, kwargs)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take the last measurement, and write the timelines."""
        if not state.is_world_process_zero:
            return
        if not args.load_best_model_at_end:
            self.tracker.measure_final(kwargs["model"])
        # The trainer logs the metrics of a step after it.
        self.timelines = self.tracker.finish(
            lambda number: logged_metrics(state.log_history, number, self._unit)
        )

    def _measure_before_best(self, args: Any, control: Any, kwargs: Mapping[str, Any]) -> None:
        """Take the last measurement before the trainer replaces the last model by the best one."""
        if args.load_best_model_at_end and control.should_training_stop:
            self.tracker.measure_final(kwargs["model"])

    def _converted(self, model: nn.Module) -> nn.Module | TextModel:
        return self._as_model(model, self._tokenizer)

    def _number(self, state: Any) -> int:
        """Return the number of completed steps, or of begun epochs, so that an unfinished epoch has its own number."""
        return int(state.global_step) if self._unit == "step" else ceil((state.epoch or 0) - 1e-6)


def _with_tokenizer(model: nn.Module, tokenizer: Any) -> TextModel:
    if tokenizer is None:
        raise UsageError(
            "the trainer has no processing_class, so words cannot be read; pass the tokenizer to the trainer, or "
            "as_model to the callback"
        )
    return from_transformers(model, tokenizer)
