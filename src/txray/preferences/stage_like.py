"""Accept a stage in any form: in memory, an open folder, or a path."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from txray.errors import UsageError
from txray.preferences.discovery import stage_folders
from txray.preferences.stage import Stage
from txray.preferences.stage_folder import StageFolder

StageLike = Stage | StageFolder | str | Path
"""A stage, its open folder, or the path of its folder."""

_FORMS = "a Stage, a StageFolder, or the path of a stage folder"


def as_stage(stage_like: StageLike) -> Stage:
    """Return a stage in memory; a folder is loaded, a stage is returned as it is.

    Args:
        stage_like: a `Stage`, a `StageFolder`, or the path of a stage folder.

    Raises:
        UsageError: none of these.
        StageError: a path that is missing, a file, damaged, or a folder of several stages.

    Example:
        >>> as_stage("stages/sup").layers  # doctest: +SKIP
    """
    if isinstance(stage_like, Stage):
        return stage_like
    if isinstance(stage_like, (StageFolder, str, os.PathLike)):
        return Stage.load(stage_like)
    raise UsageError(f"expected one stage, got {_described(stage_like)}; pass {_FORMS}")


def as_stages(stages: StageLike | Iterable[StageLike]) -> list[Stage]:
    """Return several stages in memory, in order.

    Args:
        stages: a list of what `as_stage` accepts, or the path of one folder of stages. A folder of stages, also within
            a list, becomes its stages in the order of an experiment, otherwise by name, numbers in numerical order.

    Raises:
        UsageError: neither a list nor a path, or a list that holds something else.
        StageError: as for `as_stage`.

    Example:
        >>> [stage.name for stage in as_stages("stages")]  # doctest: +SKIP
    """
    if isinstance(stages, (Stage, StageFolder, str, os.PathLike)):
        stages = [stages]
    if isinstance(stages, Mapping) or not isinstance(stages, Iterable):
        raise UsageError(
            f"expected stages, got {_described(stages)}; pass a list of stages or a folder of stages"
        )
    expanded: list[StageLike] = []
    for stage_like in stages:
        is_path = isinstance(stage_like, (str, os.PathLike))
        expanded += stage_folders([Path(stage_like)]) if is_path else [stage_like]  # type: ignore[arg-type]
    return [as_stage(stage_like) for stage_like in expanded]


def _described(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
