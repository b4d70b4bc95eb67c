"""A tracker inside the `Trainer` of transformers."""

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
from txray.tracking.tracker import Tracker, Unit
from txray.tracking.trainer_state import logged_scores

import_extra("the callback for transformers needs", "hf", "transformers")
from transformers import TrainerCallback  # noqa: E402  # in one line where it is missing


class HuggingFaceCallback(TrainerCallback):
    """Watches a training by `transformers.Trainer`.

    ```python
    callback = HuggingFaceCallback(probe, "run/txray", every=500)
    Trainer(model, arguments, train_dataset=data, processing_class=tokenizer, callbacks=[callback]).train()
    ```

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
        every: int = 500,
        unit: Unit = "step",
        as_model: Callable[[nn.Module, Any], nn.Module | TextModel] | None = None,
        **options: Any,
    ) -> None:
        """Nothing is collected yet.

        Args:
            probe: what is collected.
            folder: for everything that is kept.
            every, unit: so many steps, or epochs, from one look to the next.
            as_model: (model, processing class of the trainer) -> what `txray.collect` takes;
                `txray.models.from_transformers` by default.
            options: see `txray.Tracker`: budget, loggers, figures, weight, permutations, level, seed.
        """
        self.tracker = Tracker(probe, folder, every=every, unit=unit, as_model=self._of, **options)
        self.timelines: Mapping[str, Any] = {}
        self._unit = unit
        self._as_model = as_model or _with_tokenizer
        self._tokenizer: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Look at the model before it is trained."""
        if state.is_world_process_zero:
            self._tokenizer = given.get("processing_class")
            self.tracker.begin(given["model"], self._number(state))

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Look where a look is due."""
        if not state.is_world_process_zero:
            return
        if self._unit == "step":
            self.tracker.reached(given["model"], state.global_step)
            self._look_before_the_best(args, control, given)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Look where a look is due."""
        if not state.is_world_process_zero:
            return
        if self._unit == "epoch":
            self.tracker.reached(given["model"], self._number(state))
        self._look_before_the_best(args, control, given)

    def on_save(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Look once more where an evaluation before has ended the training."""
        if state.is_world_process_zero:
            self._look_before_the_best(args, control, given)

    def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Look once more, and tell the story."""
        if not state.is_world_process_zero:
            return
        if not args.load_best_model_at_end:
            self.tracker.last(given["model"])
        # What the trainer logs of a step becomes known after it.
        self.timelines = self.tracker.finish(
            lambda number: logged_scores(state.log_history, number, self._unit)
        )

    def _look_before_the_best(self, args: Any, control: Any, given: Mapping[str, Any]) -> None:
        """Take the last look of a training that is about to end with the best model in the place of the last."""
        if args.load_best_model_at_end and control.should_training_stop:
            self.tracker.last(given["model"])

    def _of(self, model: nn.Module) -> nn.Module | TextModel:
        return self._as_model(model, self._tokenizer)

    def _number(self, state: Any) -> int:
        """Steps, or epochs, of which one that was begun counts: what was looked at before it is not its end."""
        return int(state.global_step) if self._unit == "step" else ceil((state.epoch or 0) - 1e-6)


def _with_tokenizer(model: nn.Module, tokenizer: Any) -> TextModel:
    if tokenizer is None:
        raise UsageError(
            "the trainer has no processing_class, so words cannot be read; give it the tokenizer, or the callback "
            "as_model"
        )
    return from_transformers(model, tokenizer)
