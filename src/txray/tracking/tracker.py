"""Looks at a model while it is trained: at the beginning, every so many steps or epochs, and in the end."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from torch import nn

from txray.analysis import Timeline
from txray.capture.model_adapter import reader_of
from txray.checks import is_whole
from txray.errors import (
    PowerWarning,
    StageError,
    StageWarning,
    TrackingWarning,
    TxrayError,
    UnknownNameError,
    UsageError,
    in_one_line,
)
from txray.identity import unidentified
from txray.models.fingerprint import model_fingerprint
from txray.models.text_model import TextModel
from txray.preferences import Stage
from txray.preferences.preferences import Weight
from txray.tracking.budget import Budget
from txray.tracking.collect_spec import CollectSpec
from txray.tracking.comparison_config import ComparisonConfig
from txray.tracking.history import Measurement, TrackingHistory, numbers
from txray.tracking.log_dispatch import LoggerGroup
from txray.tracking.loggers import Logger
from txray.tracking.rng_state import undisturbed

Unit = Literal["step", "epoch"]
UNITS: tuple[Unit, ...] = get_args(Unit)

_DIGITS: Mapping[Unit, int] = {"step": 6, "epoch": 3}
_MOST_STAGES = 24
"""Stages in the story that is told in the end: its pairs grow with their square."""


class Tracker:
    """Collects stages of a model that is being trained, compares them, and tells what became of its neurons.

    Training goes on as if nobody had looked: generators of random numbers, the mode of every module, gradients and
    weights are as before. Where a look fails, or a logger, a warning says so and training goes on.

    A folder holds everything: `stages`, one folder each, `timeline`, one folder per feature type, and
    `tracking.json`. A training that goes on from a checkpoint goes on with the same folder; looks at what is trained
    once more are taken again.

    Attributes:
        folder: of the tracking.
        number: steps or epochs so far.
    """

    def __init__(
        self,
        probe: CollectSpec,
        folder: Path | str,
        *,
        every: int = 1,
        unit: Unit = "step",
        budget: float | None = None,
        loggers: Sequence[Logger] = (),
        figures: Sequence[str] = ("hellinger_length",),
        weight: Weight = "mean",
        permutations: int = 2_000,
        level: float = 0.05,
        seed: int = 0,
        as_model: Callable[[Any], nn.Module | TextModel] | None = None,
    ) -> None:
        """Nothing is collected yet.

        Args:
            probe: what is collected.
            folder: for everything that is kept; new, empty, or of the same tracking.
            every: so many steps or epochs from one look to the next.
            unit: what is counted; it names the stages: `step-000500`, `epoch-003`.
            budget: share of the time of training that may be spent: looks that it does not allow are left out. The
                first and the last are always taken; a warning tells if they alone are more. None: any.
            loggers: who is told of each look.
            figures: drawn of each look and the one before, names of `txray.tracking.FIGURES`.
            weight: what preference distributions normalise.
            permutations: of a neuron at most; 0 leaves the tests out.
            level: false-discovery rate at which a change is called one.
            seed: of everything random in the comparisons.
            as_model: what is given to `begin`, `step` and the others -> what `txray.collect` takes; called where a look
                is taken, and part of its time. By default the same.

        Raises:
            UnknownNameError: an unknown unit, figure or weight.
            UsageError: numbers that cannot be, or a folder of something else.
            StageError: the folder is damaged.
        """
        if unit not in UNITS:
            raise UnknownNameError.of("unit", unit, UNITS)
        if not is_whole(every) or every < 1:
            raise UsageError(f"tracker: every={every!r}; give a whole number of {unit}s, at least 1")
        self.folder = Path(folder)
        self.number = 0
        self._probe = probe
        self._every, self._unit = every, unit
        self._comparing = ComparisonConfig(weight, permutations, level, seed)
        self._telling = LoggerGroup(loggers, figures, seed=seed)
        self._record = TrackingHistory(self.folder, {"unit": unit, **probe.as_json()})
        self._budget = Budget(budget)
        self._first: Stage | None = None
        self._previous: Stage | None = None
        self._scores: dict[str, float] = {}
        self._left_out: int | None = None
        self._as_model = as_model or _same

    def __repr__(self) -> str:
        return f"Tracker({str(self.folder)!r}, {len(self._record.looks)} stages, {self._unit} {self.number})"

    @property
    def stages(self) -> list[Path]:
        """Folders of the stages so far, in order."""
        return [self._record.stage(look) for look in self._record.looks]

    @property
    def spent(self) -> float:
        """Seconds spent on looking, in this process."""
        return self._budget.spent

    def begin(
        self, model: nn.Module | TextModel, number: int = 0, scores: Mapping[str, float] | None = None
    ) -> None:
        """Look at the model before it is trained, or trained further; what is asked wrongly shows here.

        Args:
            model: a model of txray, a `TextModel`, or what `txray.collect` takes.
            number: steps or epochs that it has been trained for already.
            scores: of the model, for the timeline.

        Raises:
            UsageError: the folder holds the tracking of another training.
            TxrayError: what `txray.collect` raises.
        """
        self._budget = Budget(self._budget.share)
        self.number = number
        with self._budget.spending():
            start, shown = self._record.at(0), self._as_model(model)
            if number == 0 and start is not None and not self._is_known(shown, start):
                raise UsageError(
                    f"{self.folder}: holds the tracking of a training that began with other weights; give another "
                    "folder"
                )
            self._require_same_code(shown)
            self._record.keep_only({look.number for look in self._record.looks if look.number <= number})
            looks = self._record.looks
            if not looks or looks[-1].number == number:
                self._look(shown, number, scores or {})
            else:
                self._first, self._previous = (
                    Stage.load(self._record.stage(look)) for look in (looks[0], looks[-1])
                )

    def step(self, model: nn.Module | TextModel, **scores: float) -> None:
        """Say that one more step, or epoch, is done: a look is taken where one is due.

        Args:
            model: as it is now; the same kind as at the beginning. At the first call without `begin`, it has been
                trained for a step already, so there is no look at it untrained.
            scores: such as `loss=2.3`, for the timeline; numbers, or tensors and arrays of one number.
        """
        self.reached(model, self.number + 1, scores)

    def reached(
        self, model: nn.Module | TextModel, number: int, scores: Mapping[str, float] | None = None
    ) -> None:
        """Say that so many steps, or epochs, are done: a look is taken where one is due.

        Args:
            model: as it is now.
            number: done so far.
            scores: of the model, for the timeline.
        """
        self.number, self._scores = number, dict(scores or {})
        if number % self._every == 0:
            if self._budget.allows():
                self.look(model, number, scores)
            else:
                self._record.postponed += 1
                self._left_out = number

    def look(
        self, model: nn.Module | TextModel, number: int, scores: Mapping[str, float] | None = None
    ) -> None:
        """Take a look now, whatever is due and whatever it costs; a failure is warned of.

        Args:
            model: as it is now.
            number: of steps or epochs done.
            scores: of the model, for the timeline.
        """
        self.number = number
        with self._budget.spending():
            try:
                self._look(self._as_model(model), number, scores or {})
            except Exception as error:  # whatever it is, it is no reason to lose a training
                told = _told(error)
                self._record.failed[number] = told
                warnings.warn(
                    f"tracking: no look at {self._unit} {number}: {told}; training goes on",
                    TrackingWarning,
                    stacklevel=2,
                )

    def score(self, scores_of: Callable[[int], Mapping[str, float]]) -> None:
        """Add scores that became known after the looks.

        Args:
            scores_of: number of a look -> its scores.
        """
        for look in list(self._record.looks):
            self._record.add(replace(look, scores={**look.scores, **numbers(scores_of(look.number))}))

    def end(
        self, model: nn.Module | TextModel, scores: Mapping[str, float] | None = None
    ) -> dict[str, Timeline]:
        """Look at the model in the end, write the timeline, and close the loggers.

        Args:
            model: as it is now.
            scores: of the model, for the timeline; those of its latest step by default.

        Returns:
            Feature type -> timeline; empty where there is only one stage, or where a warning says that it could not
            be written.
        """
        self.last(model, scores)
        return self.finish()

    def finish(self, scores_of: Callable[[int], Mapping[str, float]] | None = None) -> dict[str, Timeline]:
        """Tell the story of a training that is over, see `tell`; a failure is warned of.

        Args:
            scores_of: number of a look -> scores that became known after it.
        """
        try:
            if scores_of is not None:
                self.score(scores_of)
            return self.tell()
        except Exception as error:  # the trained model is still to be saved
            warnings.warn(
                f"tracking: no timeline: {_told(error)}; the stages that are there are kept",
                TrackingWarning,
                stacklevel=2,
            )
            return {}

    def last(self, model: nn.Module | TextModel, scores: Mapping[str, float] | None = None) -> None:
        """Look at the model in the end, unless that was done already.

        Args:
            model: as it is now.
            scores: of the model, for the timeline; those of its latest step by default.
        """
        if self._record.at(self.number) is None:
            if self._left_out == self.number:  # by the budget, which the last one need not keep
                self._record.postponed -= 1
            self.look(model, self.number, self._scores if scores is None else scores)

    def take(
        self,
        load: Callable[[], nn.Module | TextModel],
        number: int,
        *,
        scores: Mapping[str, float],
        source: str,
    ) -> None:
        """Look at a model that lies on disk, unless that was done before; what fails is raised.

        Args:
            load: reads the model.
            number: of steps or epochs that it was trained for; larger than that of the call before.
            scores: of the model, for the timeline.
            source: tells the model from others, and from what it was, without reading it.
        """
        self.number = number
        known = self._record.at(number)
        if known is not None and known.source == source:
            with suppress(StageError):  # one that is damaged is collected again
                self._keep(Stage.load(self._record.stage(known)))
                return
        self._look(load(), number, scores, source=source)

    def keep_only(self, numbers: Iterable[int]) -> None:
        """Remove looks of other numbers, with their stages."""
        self._record.keep_only(set(numbers))

    def tell(self) -> dict[str, Timeline]:
        """Write the timeline, tell it, and close the loggers.

        Returns:
            Feature type -> timeline; empty where there is only one stage.
        """
        try:
            self._record.write()
            if self._budget.exceeded:
                warnings.warn(
                    f"tracking: took {self._budget.spent:.1f} s beside {self._budget.trained:.1f} s of training, more "
                    f"than the budget of {self._budget.share:.0%}; read fewer words, or look less often",
                    TrackingWarning,
                    stacklevel=2,
                )
            found = self.timelines() if len(self._record.looks) > 1 else {}
            for kind, story in found.items():
                story.save(self.folder / "timeline" / kind)
                self._telling.timeline(story, self.number)
        finally:
            self._telling.close()
        return found

    def timelines(self) -> dict[str, Timeline]:
        """The story so far, by feature type; of at most 24 stages, evenly spread, the first and the last among them.

        Raises:
            UsageError: fewer than two stages.
            StageError: a stage that is damaged.
        """
        looks = self._record.looks
        chosen = np.unique(np.linspace(0, len(looks) - 1, min(_MOST_STAGES, len(looks))).round().astype(int))
        stages = [Stage.load(self._record.stage(looks[place])) for place in chosen]
        return {
            kind: self._comparing.story(stages, kind, self._record.scores())
            for kind in self._probe.feature_types
        }

    def _look(
        self, model: nn.Module | TextModel, number: int, scores: Mapping[str, float], *, source: str = ""
    ) -> None:
        trained, begun = self._budget.trained, self._budget.clock()
        name = f"{self._unit}-{number:0{_DIGITS[self._unit]}}"
        code = reader_of(model, outputs=False).fingerprint
        look = Measurement(
            int(number), name, trained=trained, scores=numbers(scores), source=source, code=code
        )
        folder = self._record.stage(look)
        known = self._record.at(number)
        with undisturbed(), warnings.catch_warnings():
            if self._previous is not None:  # once is enough
                for category in (StageWarning, PowerWarning):
                    warnings.simplefilter("ignore", category)
            if known is not None and known.code == look.code and self._is_known(model, known):
                stage, look = Stage.load(folder), replace(look, scores={**known.scores, **look.scores})
            else:
                # What lies on disk can be read again after an interruption; what is in memory is trained further.
                resumable = bool(source) and not unidentified(look.code)
                if resumable:
                    self._record.begin()
                stage = self._probe.collect(model, name, folder if resumable else None)
                self._record.begin()
                stage.save(folder)
            found = self._comparing.look(stage, previous=self._previous, first=self._first)
            self._telling.look(stage, folder, found, number)
        self._record.add(replace(look, seconds=self._budget.clock() - begun))
        self._keep(stage)

    def _keep(self, stage: Stage) -> None:
        self._first = self._first or stage
        self._previous = stage

    def _require_same_code(self, model: nn.Module | TextModel) -> None:
        """Refuse a model that reads text otherwise than the one that was measured last."""
        code = reader_of(model, outputs=False).fingerprint
        former = self._record.looks[-1].code if self._record.looks else code
        if former != code and not (unidentified(former) or unidentified(code)):
            raise UsageError(
                f"{self.folder}: holds a tracking whose model read text by other code, such as another encode; give "
                "another folder"
            )

    def _is_known(self, model: nn.Module | TextModel, look: Measurement) -> bool:
        """Whether the stage of a look is of exactly this model."""
        fingerprint = model_fingerprint(reader_of(model, outputs=False).module)
        try:
            return bool(Stage.load(self._record.stage(look)).manifest["model"]["fingerprint"] == fingerprint)
        except StageError:
            return False


def _same(model: Any) -> Any:
    return model


def _told(error: Exception) -> str:
    """An error in one line, with its type where it is none of txray's."""
    kind = "" if isinstance(error, TxrayError) else f"{type(error).__name__}: "
    return kind + in_one_line(error, 500)
