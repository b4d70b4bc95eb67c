"""What a folder named on the command line stands for: a stage, or all stages that lie in it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from txray.preferences.store import CHECKPOINT, MANIFEST

_STORY = ("untrained", "", "unsup", "zero-shot", "sup")
"""The stages of an experiment, in order; all others stand where the empty name does."""


def stage_folders(folders: Iterable[Path]) -> list[Path]:
    """The folders, with those that hold stages, or an experiment, in the place of which their stages come.

    Args:
        folders: as named; one that holds neither a stage nor stages stays: whoever opens it tells what is wrong.

    Returns:
        Stages of one folder in the order of an experiment's story, else by name, numbers as numbers.
    """
    found: list[Path] = []
    for folder in folders:
        if (folder / MANIFEST).is_file() or (folder / CHECKPOINT).is_file():
            found.append(folder)
            continue
        inside = sorted(_stages(folder) or _stages(folder / "stages"), key=_order)
        found += inside or [folder]
    return found


def _stages(folder: Path) -> list[Path]:
    # Not what begins with a dot: it is being written, or was when it was interrupted.
    return [each.parent for each in folder.glob(f"[!.]*/{MANIFEST}")] if folder.is_dir() else []


def _order(folder: Path) -> tuple[int, list[tuple[int, str]]]:
    place = _STORY.index(folder.name) if folder.name in _STORY else _STORY.index("")
    parts = re.split(r"(\d+)", folder.name)
    return place, [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
