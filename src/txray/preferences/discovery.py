"""Find stage folders: expand folders that hold several, and explain a path that holds none."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from txray.errors import StageError
from txray.preferences.manifest import CHECKPOINT, MANIFEST

_STORY = ("untrained", "", "unsup", "zero-shot", "sup")
"""The stages of an experiment, in order; all others take the place of the empty name."""

_MOST_LISTED = 5


def stage_folders(folders: Iterable[Path]) -> list[Path]:
    """Return the folders, each folder of stages (or of an experiment) replaced by its stages.

    Args:
        folders: one that holds no stage at all stays in the list; opening it explains what is wrong.

    Returns:
        Stages of one folder in the order of an experiment, otherwise by name, numbers in numerical order.
    """
    expanded: list[Path] = []
    for folder in folders:
        if (folder / MANIFEST).is_file() or (folder / CHECKPOINT).is_file():
            expanded.append(folder)
        else:
            expanded += _stages(folder) or _stages(folder / "stages") or [folder]
    return expanded


def require_stage_folder(path: Path) -> None:
    """Raise if a path is not the folder of one complete stage.

    Raises:
        StageError: missing, a file, unfinished, or a folder of several stages; the line says which path to use.
    """
    if (path / MANIFEST).is_file():
        return
    if (path / CHECKPOINT).is_file():
        raise StageError(
            f"{path}: holds an unfinished collection; start the same 'txray collect' again to complete it"
        )
    raise StageError(_problem(path))


def _problem(path: Path) -> str:
    """Return the line that says what is at a path instead of a stage."""
    stages = _stages(path) or _stages(path / "stages")
    if stages:
        listed = ", ".join(stage.name for stage in stages[:_MOST_LISTED])
        more = f", ... {len(stages)} in all" if len(stages) > _MOST_LISTED else ""
        return f"{path}: a folder of stages ({listed}{more}), not one stage; name one, such as {stages[0]}"
    if path.is_file():
        folder = f", such as {path.parent}" if path.name == MANIFEST else ""
        return f"{path}: a file, not a stage folder; name the folder that 'txray collect' wrote{folder}"
    if path.is_dir():
        return f"{path}: not a stage folder (it has no {MANIFEST}); name a folder that 'txray collect' wrote"
    return f"{path}: there is no such folder{_closest(path)}; name a folder that 'txray collect' wrote"


def _closest(path: Path) -> str:
    """Return a hint that names the sibling whose name is closest to that of a missing path."""
    siblings = {sibling.name: sibling for sibling in path.parent.glob("*")} if path.parent.is_dir() else {}
    close = get_close_matches(path.name, siblings, n=1)
    return f" (did you mean {siblings[close[0]]}?)" if close else ""


def _stages(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    # Names that begin with a dot are being written, or were when a process was interrupted.
    return sorted((file.parent for file in folder.glob(f"[!.]*/{MANIFEST}")), key=_order)


def _order(folder: Path) -> tuple[int, list[tuple[int, str]]]:
    chapter = _STORY.index(folder.name) if folder.name in _STORY else _STORY.index("")
    parts = re.split(r"(\d+)", folder.name)
    return chapter, [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
