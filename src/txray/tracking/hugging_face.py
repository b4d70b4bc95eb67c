"""A tracker inside the `Trainer` of transformers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from txray.errors import UsageError
from txray.extras import require
from txray.models import TextModel, from_transformers
from txray.tracking.probe import Probe
from txray.tracking.tracker import Tracker, Unit
from txray.tracking.trainer_state import logged_scores

require("the callback for transformers needs", "hf", "transformers")
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
        timelines: feature kind -> timeline, once training has ended.
    """

    def __init__(
        self,
        probe: Probe,
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
        self.tracker = Tracker(probe, folder, every=every, unit=unit, **options)
        self.timelines: Mapping[str, Any] = {}
        self._unit = unit
        self._as_model = as_model or _with_tokenizer

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Look at the model before it is trained."""
        if state.is_world_process_zero:
            self.tracker.begin(self._model(given), self._number(state))

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Look where a look is due."""
        if not state.is_world_process_zero:
            return
        if self._unit == "step":
            self.tracker.reached(self._model(given), state.global_step)
            # Later the best model may be in its place.
            if args.load_best_model_at_end and control.should_training_stop:
                self.tracker.last(self._model(given))

    def on_epoch_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Look where a look is due."""
        if state.is_world_process_zero and self._unit == "epoch":
            self.tracker.reached(self._model(given), self._number(state))

    def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Look once more, and tell the story."""
        if not state.is_world_process_zero:
            return
        # What the trainer logs of a step becomes known after it.
        self.tracker.score(lambda number: logged_scores(state.log_history, number, self._unit))
        if args.load_best_model_at_end:
            self.timelines = self.tracker.tell()
        else:
            last = logged_scores(state.log_history, self.tracker.number, self._unit)
            self.timelines = self.tracker.end(self._model(given), last)

    def _model(self, given: Mapping[str, Any]) -> nn.Module | TextModel:
        return self._as_model(given["model"], given.get("processing_class"))

    def _number(self, state: Any) -> int:
        return int(state.global_step) if self._unit == "step" else round(state.epoch or 0)


def _with_tokenizer(model: nn.Module, tokenizer: Any) -> TextModel:
    if tokenizer is None:
        raise UsageError(
            "the trainer has no processing_class, so words cannot be read; give it the tokenizer, or the callback "
            "as_model"
        )
    return from_transformers(model, tokenizer)
