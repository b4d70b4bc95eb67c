"""What is kept of an unfinished collection on many workers: the finished shards, as stage folders."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from txray.capture.checkpoint import FolderCheckpoints, Stateful
from txray.errors import StageError
from txray.preferences import Stage
from txray.preferences.manifest import CHECKPOINT, MANIFEST, MANIFEST_KEYS

_SHARDS = "shards"
_SHARD = re.compile(r"\d{5,}-of-\d{5,}")


class ShardStore(Protocol):
    """Where finished shards are kept."""

    def scales(self, tallies: Sequence[Stateful]) -> bool:
        """Restore what the first pass found; whether it was there."""

    def keep_scales(self, tallies: Sequence[Stateful]) -> None:
        """Keep what the first pass found."""

    @property
    def keeps(self) -> bool:
        """Whether shards are kept at all."""

    def keep(self, number: int, stage: Stage) -> None:
        """Keep a shard."""

    def kept(self, numbers: Sequence[int]) -> Iterator[tuple[int, Stage]]:
        """Those of these shards that are kept whole, one after the other."""


class NullShardStore:
    """For collections that start again when they are interrupted."""

    keeps = False

    def scales(self, tallies: Sequence[Stateful]) -> bool:
        """Nothing was kept."""
        return False

    def keep_scales(self, tallies: Sequence[Stateful]) -> None:
        """Nothing is kept."""

    def keep(self, number: int, stage: Stage) -> None:
        """Nothing is kept."""

    def kept(self, numbers: Sequence[int]) -> Iterator[tuple[int, Stage]]:
        """Nothing was kept."""
        return iter(())


class FolderShardStore:
    """In the folder that the stage will be saved to: a checkpoint that says what is collected, and shards beside it."""

    keeps = True

    def __init__(self, folder: Path, described: Mapping[str, Any], of: int) -> None:
        """Go on with the folder's shards, if it has some of the same collection.

        Args:
            folder: of the stage.
            described: everything that the result depends on, as plain JSON values.
            of: shards in all.

        Raises:
            UsageError: the folder holds another collection.
            StageError: its checkpoint is damaged.
            OutputError: the folder holds something else.
        """
        self._folder = folder / _SHARDS
        self._of = of
        if not (folder / CHECKPOINT).is_file():
            self._remove_shards()
        self._checkpoints = FolderCheckpoints(folder, described, 0)
        self._told = (folder / CHECKPOINT).is_file()

    def scales(self, tallies: Sequence[Stateful]) -> bool:
        """Restore what the first pass found."""
        return self._checkpoints.for_pass("scales").restore(tallies) > 0

    def keep_scales(self, tallies: Sequence[Stateful]) -> None:
        """Keep what the first pass found."""
        self._checkpoints.for_pass("scales").complete(tallies)
        self._told = True

    def keep(self, number: int, stage: Stage) -> None:
        """Write the stage folder of a shard, complete or not at all.

        Raises:
            OutputError: the folder cannot be written.
        """
        if not self._told:
            self._checkpoints.write()
            self._told = True
        stage.save(self._place(number))

    def kept(self, numbers: Sequence[int]) -> Iterator[tuple[int, Stage]]:
        """Read the stage folders that are there; one that is damaged is read from the text again."""
        for number in numbers:
            if (self._place(number) / MANIFEST).is_file():
                try:
                    stage = Stage.load(self._place(number))
                except StageError:
                    continue
                # As it was before it was saved: checksums of a shard say nothing of the whole.
                manifest = {key: value for key, value in stage.manifest.items() if key not in MANIFEST_KEYS}
                yield number, replace(stage, manifest=manifest)

    def _remove_shards(self) -> None:
        """Remove shards of a collection that nobody knows any more; what else lies there is somebody's."""
        for place in self._folder.glob("*-of-*"):
            if _SHARD.fullmatch(place.name) and (place / MANIFEST).is_file():
                shutil.rmtree(place, ignore_errors=True)
        with suppress(OSError):  # not there, or not empty
            self._folder.rmdir()

    def _place(self, number: int) -> Path:
        return self._folder / f"{number:05d}-of-{self._of:05d}"


def finished(folder: Path | None, described: Mapping[str, Any], of: int) -> ShardStore:
    """Where finished shards are kept; nowhere without a folder."""
    return NullShardStore() if folder is None else FolderShardStore(folder, described, of)
