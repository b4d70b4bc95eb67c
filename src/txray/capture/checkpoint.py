"""Checkpoints of a collection: one file, written whole, that an interrupted run goes on from."""

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
    """What can be kept and restored."""

    def state_dict(self) -> Arrays:
        """Everything it holds, as arrays."""

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Become what `state` was taken from."""


class PassCheckpoint(Protocol):
    """The checkpoints of one pass over the documents."""

    def restore(self, consumers: Sequence[Stateful]) -> int:
        """Restore the consumers from the last checkpoint; the number of batches that it covers."""

    def offer(self, batches: int, consumers: Sequence[Stateful]) -> None:
        """Say that so many batches are done: a checkpoint is made if it is time."""

    def complete(self, consumers: Sequence[Stateful]) -> None:
        """Say that the pass is over, and that another one follows."""


class Checkpoints(Protocol):
    """The checkpoints of a collection, which may take several passes."""

    def of(self, name: str) -> PassCheckpoint:
        """Those of a pass."""


class NoCheckpoints:
    """For collections that start again when they are interrupted."""

    def of(self, name: str) -> PassCheckpoint:
        """Nothing is kept."""
        return self

    def restore(self, consumers: Sequence[Stateful]) -> int:
        """Nothing is restored."""
        return 0

    def offer(self, batches: int, consumers: Sequence[Stateful]) -> None:
        """Nothing is kept."""

    def complete(self, consumers: Sequence[Stateful]) -> None:
        """Nothing is kept."""


class FolderCheckpoints:
    """Checkpoints in the folder that the stage will be written to."""

    def __init__(self, folder: Path, request: Mapping[str, Any], seconds: float) -> None:
        """Go on from the folder's checkpoint, if it has one; nothing is written before the first is due.

        Args:
            folder: of the stage.
            request: everything that the result depends on, as plain JSON values.
            seconds: between two checkpoints.

        Raises:
            UsageError: the folder holds another collection, or this one cannot be told apart from another.
            StageError: its checkpoint is damaged.
            OutputError: the folder holds something else, which the stage would replace.
        """
        # With a checkpoint in it, everything in the folder would be taken for a stage.
        require_replaceable(folder, (MANIFEST, CHECKPOINT))
        _require_identified(request)
        self.seconds = seconds
        fingerprints = ("model", "reading code", "corpus")
        self._lock = SettingsLock(folder, CHECKPOINT, request, "an unfinished collection", fingerprints)
        self._file = self._lock.path
        self._passes: dict[str, _FolderPass] = {}
        if self._file.is_file():
            self._read()

    def of(self, name: str) -> PassCheckpoint:
        """The checkpoints of a pass."""
        return self._passes.setdefault(name, _FolderPass(self))

    def write(self) -> None:
        """Replace the file by one that holds where every pass stands.

        Raises:
            OutputError: the folder cannot be written.
        """
        arrays = {
            f"{name}|{key}": array
            for name, each in self._passes.items()
            for key, array in each.arrays.items()
        }
        described = {
            "format": _FORMAT,
            "request": self._lock.settings,
            "passes": {name: each.batches for name, each in self._passes.items()},
            "sha256": _digest(arrays),
        }
        with atomic_file(self._file) as new:
            # As bytes: when it writes a file on its own, safetensors leaves a torso beside it if it is killed.
            # One array is always there, because a file without any is none.
            new.write_bytes(save({"": np.zeros(1), **arrays}, metadata={_META: json.dumps(described)}))

    def _read(self) -> None:
        try:
            with safe_open(self._file, framework="numpy") as content:
                described = json.loads(content.metadata()[_META])
                arrays = {key: content.get_tensor(key) for key in content.keys() if key}  # noqa: SIM118 (no mapping)
            request, passes = described["request"], described["passes"]
            if described["format"] != _FORMAT or described["sha256"] != _digest(arrays):
                raise ValueError("its checksum differs, or another version of txray wrote it")
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            text = in_one_line(error)
            raise StageError(
                f"{self._file}: damaged: {text}; remove {self._file.parent} and collect again"
            ) from error
        self._lock.require_same(request)
        for name, batches in passes.items():
            self._passes[name] = _FolderPass(self, batches, with_prefix(f"{name}|", arrays))


class _FolderPass:
    """Where one pass stands."""

    def __init__(self, owner: FolderCheckpoints, batches: int = 0, arrays: Arrays | None = None) -> None:
        self.batches = batches
        self.arrays = arrays or {}
        self._owner = owner
        self._latest = time.monotonic()

    def restore(self, consumers: Sequence[Stateful]) -> int:
        if self.batches:
            for number, consumer in enumerate(consumers):
                consumer.load_state_dict(with_prefix(f"{number}|", self.arrays))
        self._latest = time.monotonic()
        return self.batches

    def offer(self, batches: int, consumers: Sequence[Stateful]) -> None:
        if time.monotonic() - self._latest >= self._owner.seconds:
            self._keep(batches, consumers)

    def complete(self, consumers: Sequence[Stateful]) -> None:
        # More batches than any pass has: it is not run again.
        self._keep(1 << 62, consumers)

    def _keep(self, batches: int, consumers: Sequence[Stateful]) -> None:
        self.batches = batches
        self.arrays = {
            f"{number}|{name}": np.ascontiguousarray(array)
            for number, consumer in enumerate(consumers)
            for name, array in consumer.state_dict().items()
        }
        self._owner.write()
        # From here on, so that a slow disk does not lead to nothing but checkpoints.
        self._latest = time.monotonic()


def _digest(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(repr((name, array.shape, str(array.dtype))).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _require_identified(request: Mapping[str, Any]) -> None:
    for name, value in request.items():
        if isinstance(value, str) and (reason := unidentified(value)):
            what = "the corpus" if name == "corpus" else "how the model reads"
            raise UsageError(
                f"collect: no checkpoint can be kept, because {what} depends on {reason}, which cannot be told apart "
                "from another; give the function or object that uses it an attribute `fingerprint`, a string to be "
                "changed with what it does, or leave checkpoint out"
            )
