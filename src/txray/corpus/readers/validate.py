"""Checks of the options of readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from txray.errors import UnknownNameError, UsageError


def require_choice(option: str, value: object, known: Sequence[str]) -> str:
    """Return `value`, which must be one of `known`.

    Raises:
        UnknownNameError: it is not; the text lists the known values.
    """
    if not isinstance(value, str) or value not in known:
        raise UnknownNameError.of(f"value of option {option!r}", str(value), known)
    return value


def known_split(path: Path, split: str | None, names: Mapping[str, str]) -> str:
    """Return a split as the data set's files name it.

    Args:
        path: shown in the error.
        split: as requested.
        names: every accepted name -> the name in the files.

    Raises:
        UsageError: no split.
        UnknownNameError: a split that does not exist.
    """
    if split is None:
        raise UsageError(f"{path}: needs a split, one of {', '.join(names)} (split=..., or --split)")
    if split not in names:
        raise UnknownNameError.of("split", split, names)
    return names[split]


def require_split_in_name(path: Path, split: str | None, names: Mapping[str, str]) -> None:
    """Raise if a split of a single file is requested that the file's name does not contain.

    Raises:
        UsageError: the name does not contain the split.
        UnknownNameError: the split does not exist.
    """
    if split is not None and known_split(path, split, names) not in path.name.lower():
        raise UsageError(f"{path}: a single file, and its name does not say {split!r}; omit the split")


def require_no_split(path: Path, split: str | None, format: str) -> None:  # noqa: A002
    """Raise if a split is requested of a format without splits.

    Raises:
        UsageError: a split is requested.
    """
    if split is not None:
        raise UsageError(
            f"{path}: format {format!r} has no splits, so {split!r} cannot be chosen; name the file of the split as "
            "the path, without a split"
        )
