"""The folder of a tracking: which looks were taken, what was asked, and where the stages are."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from txray.errors import StageError, UsageError, in_one_line
from txray.files import remove_temporaries, write_text
from txray.settings_lock import SettingsLock

RECORD = "tracking.json"
"""The file that tells a folder of a tracking."""
FORMAT = 1
_STAGE = "stage"
"""The column of scores that tells which stage they are of."""
_NAME = re.compile(r"(step|epoch)-(\d+)")


@dataclass(frozen=True)
class Measurement:
    """One look at the model.

    Attributes:
        number: of steps or epochs that it had been trained for.
        stage: name of the stage, and of its folder in `stages`.
        seconds: that the look took, with all that was told of it.
        trained: seconds of training before it, in the process that took it.
        scores: of the model, as they were given.
        source: tells the model from others, where it was read from disk; empty where it was in memory.
        code: fingerprint of how the model reads text.
    """

    number: int
    stage: str
    seconds: float = 0.0
    trained: float = 0.0
    scores: Mapping[str, float] = field(default_factory=dict)
    source: str = ""
    code: str = ""


def numbers(scores: Mapping[str, Any]) -> dict[str, float]:
    """Scores as plain numbers; those that are None are left out.

    Args:
        scores: numbers, or tensors and arrays of one number.

    Raises:
        UsageError: a score that is no number, or has a name that is taken.
    """
    found: dict[str, float] = {}
    for name, value in scores.items():
        if name == _STAGE:
            raise UsageError(f"tracker: a score cannot be called {name!r}; give it another name")
        try:
            # A loss that still belongs to its gradients warns when it is read.
            detached = value.detach() if hasattr(value, "detach") else value
            if value is not None:
                found[name] = float(detached)
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise UsageError(f"tracker: score {name!r} is no number ({in_one_line(error)})") from error
    return found


class TrackingHistory:
    """What is known of a tracking, kept on disk after every look.

    Attributes:
        folder: of the tracking.
        looks: in the order of their numbers.
        postponed: looks that were due and left out, because the budget did not allow them.
        failed: number -> why a look failed.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        """Go on with a folder, or open a new one; nothing is written yet.

        Raises:
            UsageError: the folder holds a tracking of other settings, or something else.
            StageError: the record is damaged.
        """
        self.folder = folder
        self.looks: list[Measurement] = []
        self.postponed = 0
        self.failed: dict[int, str] = {}
        self._lock = SettingsLock(folder, RECORD, settings, "a tracking")
        if self._lock.is_stored():
            self._read(self._lock.path)

    def stage(self, look: Measurement) -> Path:
        """Folder of the stage of a look."""
        return self.folder / "stages" / look.stage

    def begin(self) -> None:
        """Write the file before there is any look: a folder without it would be taken for something else."""
        if not self.looks:
            self.write()

    def add(self, look: Measurement) -> None:
        """Keep a look; one of the same number is replaced."""
        kept = [each for each in self.looks if each.number != look.number]
        self.looks = sorted([*kept, look], key=lambda each: each.number)
        self.write()

    def at(self, number: int) -> Measurement | None:
        """The look at a step or epoch, if there was one."""
        return next((look for look in self.looks if look.number == number), None)

    def keep_only(self, numbers: Collection[int]) -> None:
        """Remove the other looks, with their stages, and what a killed process was about to write."""
        remove_temporaries(self.folder)
        remove_temporaries(self.folder / "stages")
        gone = [look for look in self.looks if look.number not in numbers]
        if gone:
            self.looks = [look for look in self.looks if look.number in numbers]
            self.write()
            for look in gone:
                shutil.rmtree(self.stage(look), ignore_errors=True)

    def scores(self) -> pl.DataFrame | None:
        """One row per look, `stage` and the scores that were given; None where none were."""
        names = list(dict.fromkeys(name for look in self.looks for name in look.scores))
        if not names:
            return None
        schema = {_STAGE: pl.String, **dict.fromkeys(names, pl.Float64)}
        rows = [
            {_STAGE: look.stage, **{name: look.scores.get(name) for name in names}} for look in self.looks
        ]
        return pl.DataFrame(rows, schema=schema)

    def write(self) -> None:
        """Replace the file."""
        content = {
            "format": FORMAT,
            "settings": self._lock.settings,
            "looks": [asdict(look) for look in self.looks],
            "postponed": self.postponed,
            "failed": {str(number): why for number, why in self.failed.items()},
        }
        write_text(self.folder / RECORD, json.dumps(content, indent=1, sort_keys=True) + "\n")

    def _read(self, file: Path) -> None:
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise StageError(
                    f"{file}: format {content['format']!r}; this version of txray reads format {FORMAT}; use the "
                    "version that wrote it"
                )
            former = dict(content["settings"])
            self.looks = [_checked(Measurement(**look)) for look in content["looks"]]
            if len({look.number for look in self.looks}) < len(self.looks):
                raise ValueError("a look twice")
            self.postponed = int(content["postponed"])
            self.failed = {int(number): str(why) for number, why in content["failed"].items()}
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
        if self.looks:  # otherwise it was interrupted, or refused, before anything was kept
            self._lock.require_same(former)


def _checked(look: Measurement) -> Measurement:
    """A look as it was written, if it can have been.

    Raises:
        ValueError, TypeError, AttributeError, UsageError: it cannot.
    """
    # It becomes the path of a folder that may be removed.
    named = _NAME.fullmatch(look.stage)
    if named is None or type(look.number) is not int or int(named[2]) != look.number:
        raise ValueError(f"stage {look.stage!r}")
    return replace(
        look,
        seconds=float(look.seconds),
        trained=float(look.trained),
        scores=numbers(look.scores),
        source=str(look.source),
        code=str(look.code),
    )
