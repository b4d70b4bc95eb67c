"""Measurements of a model during its training: before it, every few steps or epochs, and after it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from txray.analysis import Timeline
from txray.capture.model_adapter import adapter_for
from txray.checks import is_integer
from txray.errors import (
    PowerWarning,
    StageError,
    StageWarning,
    TrackingWarning,
    TxrayError,
    UnknownNameError,
    UsageError,
    in_one_line,
    warn_user,
)
from txray.identity import unidentified
from txray.models.fingerprint import model_fingerprint
from txray.models.load import as_model
from txray.models.text_model import TextModel
from txray.preferences import Stage
from txray.preferences.preferences import Weight
from txray.sampling import even_sample
from txray.tracking.budget import Budget
from txray.tracking.collect_spec import CollectSpec
from txray.tracking.comparison_config import ComparisonConfig
from txray.tracking.history import UNITS, Measurement, TrackingHistory, Unit, as_floats, stage_name
from txray.tracking.log_dispatch import LoggerGroup
from txray.tracking.loggers import Logger
from txray.tracking.rng_state import preserve_rng_state

_MAX_STAGES = 24
"""Maximum number of stages in the final timeline, whose cost grows with the square of their number."""


class Tracker:
    """Collects stages of a model during training and compares them.

    Training is unaffected: random number generators, the mode of every module, gradients and weights stay as they
    are. If a measurement or a logger fails, a warning says so and training continues.

    The folder holds `stages`, `timeline` with a folder per feature type, and `tracking.json`. A training that resumes
    from a checkpoint resumes in the same folder; measurements of steps that are trained again are repeated.

    The arguments of the methods: `model` in its current state, of the same type in every call; `number` of completed
    steps or epochs; `metrics` of the model for the timeline, numbers or tensors and arrays of one number.

    Attributes:
        folder: folder of the results.
        number: completed steps or epochs.

    Example:
        >>> tracker = txray.Tracker(txray.CollectSpec(text, ["rnn"]), "tracking", every=500)
        >>> tracker.begin(model)
        >>> for batch in batches:
        ...     tracker.step(model, loss=train(batch))
        >>> timelines = tracker.end(model)
    """

    def __init__(
        self,
        spec: CollectSpec,
        folder: Path | str,
        *,
        every: int = 1,
        unit: Unit = "step",
        budget: float | None = None,
        loggers: Sequence[Logger] = (),
        figures: Sequence[str] = ("hellinger_length",),
        weight: Weight = "mean",
        permutations: int = 10_000,
        fdr: float = 0.05,
        seed: int = 0,
        as_model: Callable[[Any], nn.Module | TextModel] | None = None,
    ) -> None:
        """Check the arguments; nothing is collected yet.

        Args:
            spec: text, layers and feature types to collect.
            folder: folder of the results: new, empty, or of the same tracker.
            every: number of steps or epochs between measurements.
            unit: `step` or `epoch`; it names the stages: `step-000500`, `epoch-003`.
            budget: share of the training time that may be spent; measurements beyond it are skipped. The first and
                the last are always taken, with a warning if they alone exceed it. None: no limit.
            loggers: loggers that receive each measurement.
            figures: figures of each measurement and the one before, names of `txray.tracking.FIGURES`.
            weight: normalization of preference distributions.
            permutations: maximum number of permutations per neuron; 0 disables the tests. The default is that of
                `txray.timeline`: with fewer, p-values cannot get small enough to stand out among many neurons.
            fdr: false discovery rate.
            seed: random seed of the comparisons.
            as_model: converts the object passed to `begin`, `step` and the others to what `txray.collect` takes;
                called for each measurement, and counted as part of its time. None: they are passed as they are.

        Raises:
            UnknownNameError: an unknown unit, figure or weight.
            UsageError: numbers out of range, or a folder of something else.
            StageError: the folder is damaged.
        """
        if unit not in UNITS:
            raise UnknownNameError.of("unit", unit, UNITS)
        if not is_integer(every) or every < 1:
            raise UsageError(f"tracker: every={every!r}; give a whole number of {unit}s, at least 1")
        self.folder = Path(folder)
        self.number = 0
        self._spec = spec
        self._every, self._unit = every, unit
        self._comparisons = ComparisonConfig(weight, permutations, fdr, seed)
        self._logging = LoggerGroup(loggers, figures, seed=seed)
        self._history = TrackingHistory(self.folder, {"unit": unit, **spec.as_json()})
        self._budget = Budget(budget)
        self._first: Stage | None = None
        self._previous: Stage | None = None
        self._metrics: dict[str, float] = {}
        self._postponed: int | None = None
        self._convert = as_model

    def __repr__(self) -> str:
        n_stages = len(self._history.measurements)
        return f"Tracker({str(self.folder)!r}, {n_stages} stages, {self._unit} {self.number})"

    @property
    def stages(self) -> list[Path]:
        """Folders of the stages so far, in order."""
        return [self._history.stage_folder(measurement) for measurement in self._history.measurements]

    @property
    def overhead_seconds(self) -> float:
        """Seconds spent on measurements in this process."""
        return self._budget.spent

    def begin(
        self, model: nn.Module | TextModel, number: int = 0, metrics: Mapping[str, float] | None = None
    ) -> None:
        """Measure the model before it is trained, or trained further; invalid settings are reported now.

        Args:
            model: a model of txray, a `TextModel`, or any model that `txray.collect` takes.
            number, metrics: of the training so far.

        Raises:
            UsageError: the folder belongs to another training.
            TxrayError: errors of `txray.collect`.
        """
        self._budget = Budget(self._budget.share)
        self.number = number
        with self._budget.spending():
            start, current = self._history.at(0), self._as_model(model)
            if number == 0 and start is not None and not self._is_stage_of(current, start):
                raise UsageError(
                    f"{self.folder}: holds a tracking that began with other weights; give another folder"
                )
            self._require_same_code(current)
            self._history.drop_other(
                {known.number for known in self._history.measurements if known.number <= number}
            )
            measurements = self._history.measurements
            if not measurements or measurements[-1].number == number:
                self._measure(current, number, metrics or {})
            else:
                self._first = self._history.load_stage(measurements[0])
                self._previous = self._history.load_stage(measurements[-1])

    def step(self, model: nn.Module | TextModel, **metrics: float) -> None:
        """Count one more step or epoch, and take a measurement if one is due.

        Without `begin`, the untrained model is not measured. Metrics are keywords, such as `loss=2.3`.
        """
        self.on_step(model, self.number + 1, metrics)

    def on_step(
        self, model: nn.Module | TextModel, number: int, metrics: Mapping[str, float] | None = None
    ) -> None:
        """Report the number of completed steps or epochs, and take a measurement if one is due."""
        self.number, self._metrics = number, dict(metrics or {})
        if number % self._every == 0:
            if self._budget.allows():
                self.measure(model, number, metrics)
            else:
                self._history.postponed += 1
                self._postponed = number

    def measure(
        self, model: nn.Module | TextModel, number: int, metrics: Mapping[str, float] | None = None
    ) -> None:
        """Take a measurement now, regardless of schedule and budget. A failure is a warning."""
        self.number = number
        with self._budget.spending():
            try:
                self._measure(self._as_model(model), number, metrics or {})
            except Exception as error:  # no error of a measurement may end a training
                message = _error_message(error)
                self._history.failed[number] = message
                warn_user(
                    f"tracking: no measurement at {self._unit} {number}: {message}; training continues",
                    TrackingWarning,
                )

    def add_metrics(self, metrics_of: Callable[[int], Mapping[str, float]]) -> None:
        """Add metrics that became known after the measurements.

        Args:
            metrics_of: number of a measurement -> its metrics.
        """
        for known in list(self._history.measurements):
            metrics = {**known.metrics, **as_floats(metrics_of(known.number))}
            self._history.add(replace(known, metrics=metrics))

    def end(
        self, model: nn.Module | TextModel, metrics: Mapping[str, float] | None = None
    ) -> dict[str, Timeline]:
        """Measure the trained model, write the timelines, and close the loggers.

        Without metrics, those of the latest step are used.

        Returns:
            Feature type -> timeline; empty if there is only one stage, or if a warning says why there is none.
        """
        self.measure_final(model, metrics)
        return self.finish()

    def finish(self, metrics_of: Callable[[int], Mapping[str, float]] | None = None) -> dict[str, Timeline]:
        """Write the timelines and close the loggers, as `finalize` does. A failure is a warning.

        Args:
            metrics_of: number of a measurement -> metrics that became known after it.
        """
        try:
            if metrics_of is not None:
                self.add_metrics(metrics_of)
            return self.finalize()
        except Exception as error:  # the trained model is still to be saved
            warn_user(
                f"tracking: no timeline: {_error_message(error)}; the stages collected so far are saved",
                TrackingWarning,
            )
            return {}

    def measure_final(self, model: nn.Module | TextModel, metrics: Mapping[str, float] | None = None) -> None:
        """Measure the trained model, unless that was done at its last step; by default with its metrics."""
        if self._history.at(self.number) is None:
            if self._postponed == self.number:  # the budget does not apply to the last measurement
                self._history.postponed -= 1
            self.measure(model, self.number, self._metrics if metrics is None else metrics)

    def measure_checkpoint(
        self,
        load: Callable[[], nn.Module | TextModel],
        number: int,
        *,
        metrics: Mapping[str, float],
        source: str,
    ) -> None:
        """Measure a saved checkpoint, unless it has been measured already. Errors are raised, not warned about.

        Args:
            load: loads the model.
            number: larger than in the previous call.
            metrics: of the checkpoint.
            source: identifies the checkpoint and its content without loading it.
        """
        self.number = number
        known = self._history.at(number)
        if known is not None and known.source == source:
            with suppress(StageError):  # a damaged stage is collected again
                self._set_references(self._history.load_stage(known))
                return
        self._measure(load(), number, metrics, source=source)

    def drop_other(self, numbers: Iterable[int]) -> None:
        """Remove measurements of all other numbers, and their stages."""
        self._history.drop_other(set(numbers))

    def finalize(self) -> dict[str, Timeline]:
        """Write and log the timelines, and close the loggers.

        Returns:
            Feature type -> timeline; empty if there is only one stage.
        """
        try:
            self._history.write()
            if self._budget.exceeded:
                warn_user(
                    f"tracking: took {self._budget.spent:.1f} s beside {self._budget.trained:.1f} s of training, more "
                    f"than the budget of {self._budget.share:.0%}; read fewer words, or measure less often",
                    TrackingWarning,
                )
            timelines = self.timelines() if len(self._history.measurements) > 1 else {}
            for feature_type, timeline in timelines.items():
                timeline.save(self.folder / "timeline" / feature_type)
                self._logging.log_timeline(timeline, self.number)
        finally:
            self._logging.close()
        return timelines

    def timelines(self) -> dict[str, Timeline]:
        """Return the timeline so far of each feature type.

        Of more than 24 stages, 24 are used: the first, the last, and others evenly spread between them.

        Raises:
            UsageError: fewer than two stages.
            StageError: a stage that is damaged.
        """
        measurements = self._history.measurements
        sampled = even_sample(len(measurements), _MAX_STAGES)
        stages = [self._history.load_stage(measurements[index]) for index in sampled]
        return {
            feature_type: self._comparisons.timeline(stages, feature_type, self._history.metrics())
            for feature_type in self._spec.feature_types
        }

    def _as_model(self, model: Any) -> Any:
        """Return what `txray.collect` takes."""
        return as_model(model if self._convert is None else self._convert(model))

    def _measure(
        self, model: nn.Module | TextModel, number: int, metrics: Mapping[str, float], *, source: str = ""
    ) -> None:
        trained, started = self._budget.trained, self._budget.clock()
        name = stage_name(self._unit, number)
        code = adapter_for(model, outputs=False).fingerprint
        measurement = Measurement(
            int(number), name, trained=trained, metrics=as_floats(metrics), source=source, code=code
        )
        folder = self._history.stage_folder(measurement)
        known = self._history.at(number)
        with preserve_rng_state(), warnings.catch_warnings():
            if self._previous is not None:  # warn once per training
                for category in (StageWarning, PowerWarning):
                    warnings.simplefilter("ignore", category)
            if known is not None and known.code == code and self._is_stage_of(model, known):
                stage = self._history.load_stage(known)
                measurement = replace(measurement, metrics={**known.metrics, **measurement.metrics})
            else:
                # A checkpoint on disk can be read again after an interruption; a model in memory is trained further.
                resumable = bool(source) and not unidentified(code)
                if resumable:
                    self._history.begin()
                stage = self._spec.collect(model, name, folder if resumable else None)
                self._history.begin()
                stage.save(folder)
            comparisons = self._comparisons.compare(stage, previous=self._previous, first=self._first)
            self._logging.log_measurement(stage, folder, comparisons, number)
        self._history.add(replace(measurement, seconds=self._budget.clock() - started))
        self._set_references(stage)

    def _set_references(self, stage: Stage) -> None:
        self._first = self._first or stage
        self._previous = stage

    def _require_same_code(self, model: nn.Module | TextModel) -> None:
        """Raise if the model reads text by other code than the one measured last."""
        code = adapter_for(model, outputs=False).fingerprint
        former = self._history.measurements[-1].code if self._history.measurements else code
        if former != code and not (unidentified(former) or unidentified(code)):
            raise UsageError(
                f"{self.folder}: holds a tracking whose model read text by other code, such as another encode; "
                "give another folder"
            )

    def _is_stage_of(self, model: nn.Module | TextModel, measurement: Measurement) -> bool:
        """Return True if the stage of a measurement was collected from exactly this model."""
        fingerprint = model_fingerprint(adapter_for(model, outputs=False).module)
        return self._history.fingerprint_of_model(measurement) == fingerprint


def _error_message(error: Exception) -> str:
    """Return an error as one line, with its type unless it is an error of txray."""
    prefix = "" if isinstance(error, TxrayError) else f"{type(error).__name__}: "
    return prefix + in_one_line(error, 500)
