"""Folder of a tracked training: its measurements, settings and stages."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import polars as pl

from txray.errors import StageError, UsageError, in_one_line
from txray.files import remove_temporaries, write_text
from txray.preferences import Stage
from txray.settings_lock import SettingsLock

Unit = Literal["step", "epoch"]
UNITS: tuple[Unit, ...] = get_args(Unit)

TRACKING_FILE = "tracking.json"
"""File that marks the folder of a tracker."""
FORMAT = 2
_STAGE = "stage"
"""Column of the metrics that names their stage."""
_NAME = re.compile(r"(step|epoch)-(\d+)")
_DIGITS: Mapping[Unit, int] = {"step": 6, "epoch": 3}


@dataclass(frozen=True)
class Measurement:
    """One measurement of the model.

    Attributes:
        number: completed steps or epochs.
        stage_name: name of the stage, and of its folder in `stages`.
        seconds: duration, logging included.
        trained: seconds of training before it, in the process that took it.
        metrics: metrics of the model, such as its loss.
        source: identifies a model that was read from disk; empty for a model in memory.
        code: fingerprint of the code by which the model reads text.
    """

    number: int
    stage_name: str
    seconds: float = 0.0
    trained: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    source: str = ""
    code: str = ""


def stage_name(unit: Unit, number: int) -> str:
    """Return the name of a stage, such as `step-000500` or `epoch-003`."""
    return f"{unit}-{number:0{_DIGITS[unit]}}"


def as_floats(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return metrics as plain numbers, without those that are None.

    Args:
        metrics: numbers, or tensors and arrays of one number.

    Raises:
        UsageError: a metric that is not a number, or has a reserved name.
    """
    numbers: dict[str, float] = {}
    for name, value in metrics.items():
        if name == _STAGE:
            raise UsageError(f"tracker: a metric cannot be called {name!r}; give it another name")
        try:
            # Reading a loss that is attached to its graph would warn.
            detached = value.detach() if hasattr(value, "detach") else value
            if value is not None:
                numbers[name] = float(detached)
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise UsageError(f"tracker: metric {name!r} is not a number ({in_one_line(error)})") from error
    return numbers


class TrackingHistory:
    """Measurements of a training, written to disk after each of them.

    Attributes:
        folder: folder of the tracker.
        measurements: in the order of their numbers.
        postponed: number of measurements that were due and skipped, because the budget did not allow them.
        failed: number of steps or epochs -> error message of a failed measurement.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        """Open an existing folder or prepare a new one; nothing is written yet.

        Raises:
            UsageError: the folder belongs to a tracker with other settings, or holds something else.
            StageError: its file is damaged.
        """
        self.folder = folder
        self.measurements: list[Measurement] = []
        self.postponed = 0
        self.failed: dict[int, str] = {}
        self._lock = SettingsLock(folder, TRACKING_FILE, settings, "a tracking")
        if self._lock.is_stored():
            self._read(self._lock.path)

    def stage_folder(self, measurement: Measurement) -> Path:
        """Return the stage folder of a measurement."""
        return self.folder / "stages" / measurement.stage_name

    def load_stage(self, measurement: Measurement) -> Stage:
        """Return the stage of a measurement.

        Raises:
            StageError: it is missing or damaged.
        """
        return Stage.load(self.stage_folder(measurement))

    def fingerprint_of_model(self, measurement: Measurement) -> str | None:
        """Return the fingerprint of the measured model; None if its stage is missing or damaged."""
        try:
            return str(self.load_stage(measurement).manifest["model"]["fingerprint"])
        except StageError:
            return None

    def begin(self) -> None:
        """Write the file before the first measurement, so that the folder of an interrupted one is recognized."""
        if not self.measurements:
            self.write()

    def add(self, measurement: Measurement) -> None:
        """Store a measurement; it replaces one of the same number."""
        others = [other for other in self.measurements if other.number != measurement.number]
        self.measurements = sorted([*others, measurement], key=lambda known: known.number)
        self.write()

    def at(self, number: int) -> Measurement | None:
        """Return the measurement at a step or epoch, None if there is none."""
        return next((known for known in self.measurements if known.number == number), None)

    def drop_other(self, numbers: Collection[int]) -> None:
        """Remove all measurements except these, their stages, and temporary files of a killed process."""
        remove_temporaries(self.folder)
        remove_temporaries(self.folder / "stages")
        dropped = [known for known in self.measurements if known.number not in numbers]
        if dropped:
            self.measurements = [known for known in self.measurements if known.number in numbers]
            self.write()
            for measurement in dropped:
                shutil.rmtree(self.stage_folder(measurement), ignore_errors=True)

    def metrics(self) -> pl.DataFrame | None:
        """Return the metrics, one row per measurement with its `stage`; None if there are none."""
        names = list(dict.fromkeys(name for known in self.measurements for name in known.metrics))
        if not names:
            return None
        schema = {_STAGE: pl.String, **dict.fromkeys(names, pl.Float64)}
        rows = [
            {_STAGE: known.stage_name, **{name: known.metrics.get(name) for name in names}}
            for known in self.measurements
        ]
        return pl.DataFrame(rows, schema=schema)

    def write(self) -> None:
        """Write the file."""
        content = {
            "format": FORMAT,
            "settings": self._lock.settings,
            "measurements": [asdict(known) for known in self.measurements],
            "postponed": self.postponed,
            "failed": {str(number): message for number, message in self.failed.items()},
        }
        write_text(self.folder / TRACKING_FILE, json.dumps(content, indent=1, sort_keys=True) + "\n")

    def _read(self, file: Path) -> None:
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise StageError(
                    f"{file}: format {content['format']!r}; this version of txray reads format {FORMAT}; use the "
                    "version that wrote it"
                )
            former = dict(content["settings"])
            self.measurements = [_checked(Measurement(**values)) for values in content["measurements"]]
            if len({known.number for known in self.measurements}) < len(self.measurements):
                raise ValueError("two measurements of one number")
            self.postponed = int(content["postponed"])
            self.failed = {int(number): str(message) for number, message in content["failed"].items()}
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            OverflowError,
            RecursionError,
            UsageError,
        ) as error:
            raise StageError(f"{file}: damaged ({in_one_line(error)}); track into another folder") from error
        if self.measurements:  # otherwise interrupted or refused before the first one
            self._lock.require_same(former)


def _checked(measurement: Measurement) -> Measurement:
    """Return a measurement with converted values.

    Raises:
        ValueError, TypeError, AttributeError, UsageError: values that were not written by txray.
    """
    # The name becomes the path of a folder that may be removed.
    name = _NAME.fullmatch(measurement.stage_name)
    if name is None or type(measurement.number) is not int or int(name[2]) != measurement.number:
        raise ValueError(f"stage {measurement.stage_name!r}")
    return replace(
        measurement,
        seconds=float(measurement.seconds),
        trained=float(measurement.trained),
        metrics=as_floats(measurement.metrics),
        source=str(measurement.source),
        code=str(measurement.code),
    )
