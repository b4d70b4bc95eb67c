"""Checkpoints of a collection: one file, written atomically, from which an interrupted run resumes."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from txray.errors import StageError, UsageError, in_one_line
from txray.files import atomic_file, require_replaceable
from txray.identity import unidentified
from txray.preferences.manifest import CHECKPOINT, MANIFEST
from txray.preferences.serialization import with_prefix
from txray.settings_lock import SettingsLock

_FORMAT = 4
_META = "txray"

Arrays = dict[str, NDArray[Any]]


class Stateful(Protocol):
    """An accumulator that can be saved and restored."""

    def state_dict(self) -> Arrays:
        """Return the whole state as arrays."""

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore what `state_dict` returned."""


class FolderCheckpoints:
    """The checkpoint of all passes of a collection, in the folder that the stage will be written to."""

    def __init__(self, folder: Path, request: Mapping[str, Any], seconds: float) -> None:
        """Read the checkpoint of a folder, if it has one; nothing is written before the first checkpoint is due.

        Args:
            folder: folder of the stage.
            request: everything that the result depends on, as plain JSON values; see `Collection.settings`.
            seconds: time between two checkpoints.

        Raises:
            UsageError: the folder holds another collection, or this collection cannot be identified.
            StageError: its checkpoint is damaged.
            OutputError: the folder holds something else, which the stage would replace.
        """
        # With a checkpoint in it, the whole folder would be treated as a stage.
        require_replaceable(folder, (MANIFEST, CHECKPOINT))
        _require_identified(request)
        self.seconds = seconds
        fingerprints = ("model", "reading code", "corpus")
        self._lock = SettingsLock(folder, CHECKPOINT, request, "an unfinished collection", fingerprints)
        self._file = self._lock.path
        self._batches: dict[str, int] = {}
        self._arrays: Arrays = {}
        if self._file.is_file():
            self._read()

    def for_pass(self, name: str, consumers: Sequence[Stateful]) -> PassCheckpoint:
        """Return the checkpoint of a pass, which saves and restores the state of these consumers."""
        return PassCheckpoint(self, name, consumers)

    def state(self, name: str) -> tuple[int, Arrays]:
        """Return the number of batches of a pass that the checkpoint covers, and the arrays of its consumers."""
        return self._batches.get(name, 0), with_prefix(f"{name}|", self._arrays)

    def store(self, name: str, batches: int, arrays: Arrays) -> None:
        """Replace the state of a pass, and write the state of every pass.

        Raises:
            OutputError: the folder cannot be written.
        """
        self._batches[name] = batches
        others = {key: array for key, array in self._arrays.items() if not key.startswith(f"{name}|")}
        self._arrays = others | {f"{name}|{key}": array for key, array in arrays.items()}
        self.write()

    def write(self) -> None:
        """Write the state of every pass.

        Raises:
            OutputError: the folder cannot be written.
        """
        metadata = {
            "format": _FORMAT,
            "request": self._lock.settings,
            "passes": self._batches,
            "sha256": _digest(self._arrays),
        }
        with atomic_file(self._file) as new:
            # As bytes: safetensors leaves a partial file beside this one if it is killed while writing.
            # One array is always present, because safetensors cannot read a file without any.
            new.write_bytes(save({"": np.zeros(1), **self._arrays}, metadata={_META: json.dumps(metadata)}))

    def _read(self) -> None:
        try:
            with safe_open(self._file, framework="numpy") as content:
                metadata = json.loads(content.metadata()[_META])
                arrays = {key: content.get_tensor(key) for key in content.keys() if key}  # noqa: SIM118 (no mapping)
            request, passes = metadata["request"], metadata["passes"]
            if metadata["format"] != _FORMAT or metadata["sha256"] != _digest(arrays):
                raise ValueError("its checksum differs, or another version of txray wrote it")
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise StageError(
                f"{self._file}: damaged: {in_one_line(error)}; remove {self._file.parent} and collect again"
            ) from error
        self._lock.require_same(request)
        self._batches, self._arrays = passes, arrays


class PassCheckpoint:
    """Saves and restores the state of one pass over the documents."""

    def __init__(self, checkpoints: FolderCheckpoints, name: str, consumers: Sequence[Stateful]) -> None:
        """Start the time until the next checkpoint."""
        self._checkpoints = checkpoints
        self._name = name
        self._consumers = consumers
        self._latest = time.monotonic()

    def restore(self) -> int:
        """Restore the consumers from the last checkpoint, and return the number of batches that it covers."""
        batches, arrays = self._checkpoints.state(self._name)
        if batches:
            for number, consumer in enumerate(self._consumers):
                consumer.load_state_dict(with_prefix(f"{number}|", arrays))
        self._latest = time.monotonic()
        return batches

    def offer(self, batches: int) -> None:
        """Report the number of finished batches, and write a checkpoint if one is due."""
        if time.monotonic() - self._latest >= self._checkpoints.seconds:
            self._store(batches)

    def complete(self) -> None:
        """Report that the pass is finished and another one follows."""
        # More batches than any pass has, so it is not run again.
        self._store(1 << 62)

    def _store(self, batches: int) -> None:
        arrays = {
            f"{number}|{name}": np.ascontiguousarray(array)
            for number, consumer in enumerate(self._consumers)
            for name, array in consumer.state_dict().items()
        }
        self._checkpoints.store(self._name, batches, arrays)
        # Measured from the end of writing, so that a slow disk does not spend all the time on checkpoints.
        self._latest = time.monotonic()


def _digest(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(repr((name, array.shape, str(array.dtype))).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _require_identified(request: Mapping[str, Any]) -> None:
    for name, value in request.items():
        if isinstance(value, str) and (reason := unidentified(value)):
            subject = "the corpus" if name == "corpus" else "how the model reads"
            raise UsageError(
                f"collect: no checkpoint is possible, because {subject} depends on {reason}, which cannot be "
                "identified; give the function or object that uses it an attribute `fingerprint` (a string that "
                "changes with what it does), or omit checkpoint"
            )
