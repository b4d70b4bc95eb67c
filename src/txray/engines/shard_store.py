"""Store the finished shards of a collection on many workers, so that it can be resumed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from txray.capture.checkpoint import FolderCheckpoints, Stateful
from txray.errors import StageError
from txray.preferences import Stage
from txray.preferences.manifest import CHECKPOINT, MANIFEST, MANIFEST_KEYS

_SHARDS = "shards"
_SHARD = re.compile(r"\d{5,}-of-\d{5,}")


class ShardStore:
    """Shards in the folder of the future stage, beside a checkpoint that describes the collection."""

    def __init__(self, folder: Path, description: Mapping[str, Any], n_shards: int) -> None:
        """Open the folder of the stage, and continue with its shards if they are of the same collection.

        Args:
            folder: folder of the stage.
            description: everything that the result depends on, as plain JSON values.
            n_shards: number of shards.

        Raises:
            UsageError: the folder holds another collection.
            StageError: its checkpoint is damaged.
            OutputError: the folder holds something else.
        """
        self._folder = folder / _SHARDS
        self._n_shards = n_shards
        if not (folder / CHECKPOINT).is_file():
            self._remove_shards()
        self._checkpoints = FolderCheckpoints(folder, description, 0)
        self._is_described = (folder / CHECKPOINT).is_file()

    def load_scales(self, tallies: Sequence[Stateful]) -> bool:
        """Restore the sums of the first pass; return whether they were stored."""
        return self._checkpoints.for_pass("scales", tallies).restore() > 0

    def save_scales(self, tallies: Sequence[Stateful]) -> None:
        """Store the sums of the first pass."""
        self._checkpoints.for_pass("scales", tallies).complete()
        self._is_described = True

    def save(self, number: int, stage: Stage) -> None:
        """Write the stage folder of a shard, complete or not at all.

        Raises:
            OutputError: the folder cannot be written.
        """
        if not self._is_described:
            self._checkpoints.write()
            self._is_described = True
        stage.save(self._path(number))

    def load(self, numbers: Sequence[int]) -> Iterator[tuple[int, Stage]]:
        """Yield the stored ones among these shards; a damaged one is left out, and so read from the text again."""
        for number in numbers:
            if (self._path(number) / MANIFEST).is_file():
                try:
                    stage = Stage.load(self._path(number))
                except StageError:
                    continue
                # As before saving: the checksums of a shard say nothing about the whole.
                manifest = {key: value for key, value in stage.manifest.items() if key not in MANIFEST_KEYS}
                yield number, replace(stage, manifest=manifest)

    def _remove_shards(self) -> None:
        """Remove shards without a checkpoint, whose collection is unknown; other files are left alone."""
        for path in self._folder.glob("*-of-*"):
            if _SHARD.fullmatch(path.name) and (path / MANIFEST).is_file():
                shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):  # missing, or not empty
            self._folder.rmdir()

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:05d}-of-{self._n_shards:05d}"
