"""Checking what a caller asks of a reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from txray.errors import UnknownNameError, UsageError


def choice(option: str, value: object, known: Sequence[str]) -> str:
    """`value`, which must be one of `known`.

    Raises:
        UnknownNameError: it is not; the text lists what there is.
    """
    if not isinstance(value, str) or value not in known:
        raise UnknownNameError.of(f"value of option {option!r}", str(value), known)
    return value


def switch(option: str, value: object) -> bool:
    """`value`, which must be a boolean.

    Raises:
        UsageError: it is not.
    """
    if not isinstance(value, bool):
        raise UsageError(f"option {option!r} is {value!r}; give True or False")
    return value


def known_split(path: Path, split: str | None, names: Mapping[str, str]) -> str:
    """The split as the data set's files name it.

    Args:
        path: shown in the error.
        split: as asked for.
        names: every accepted name -> the name in the files.

    Raises:
        UsageError: no split, or one that does not exist.
    """
    if split is None:
        raise UsageError(f"{path}: needs a split, one of {', '.join(names)} (split=..., or --split)")
    if split not in names:
        raise UnknownNameError.of("split", split, names)
    return names[split]


def split_of_file(path: Path, split: str | None, names: Mapping[str, str]) -> None:
    """Check a split that was asked for of a single file: its name must say that it is this split.

    Raises:
        UsageError: the name says nothing of the kind, or the split does not exist.
    """
    if split is not None and known_split(path, split, names) not in path.name.lower():
        raise UsageError(f"{path}: a single file, and its name does not say {split!r}; leave split away")


def no_split(path: Path, split: str | None, format: str) -> None:  # noqa: A002
    """Check that no split was asked for.

    Raises:
        UsageError: one was.
    """
    if split is not None:
        raise UsageError(
            f"{path}: format {format!r} has no splits, so {split!r} cannot be chosen; name the file of the split as "
            "the path, without a split"
        )
