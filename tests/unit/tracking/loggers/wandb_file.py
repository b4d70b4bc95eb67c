"""Reads the file that W&B keeps of an offline run, without anything of W&B but its own messages."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

_HEADER, _BLOCK, _CHUNK_HEADER = 7, 32_768, 7
_PATIENCE = 30
"""Seconds until a file counts as never finished."""


def records(folder: Path) -> list[Any]:
    """All records of the one run below a folder, in order; the run has ended."""
    (file,) = folder.rglob("*.wandb")
    deadline = time.monotonic() + _PATIENCE
    while True:
        found = [_record(content) for content in _contents(file.read_bytes())]
        # Another process writes the file, and has the last of it still to write when `finish` returns.
        if any(record.WhichOneof("record_type") == "exit" for record in found):
            return found
        assert time.monotonic() < deadline, f"{file}: no end after {len(found)} records"
        time.sleep(0.02)


def history(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run's history, without what W&B adds on its own but its step."""
    rows = []
    for record in records(folder):
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
            row["_step"] = record.history.step.num
            rows.append({key: value for key, value in row.items() if key not in ("_runtime", "_timestamp")})
    return rows


def _record(content: bytes) -> Any:
    record = wandb_internal_pb2.Record()
    record.ParseFromString(content)
    return record


def _contents(data: bytes) -> Iterator[bytes]:
    """Records are cut into chunks of LevelDB's log format: checksum (4), length (2), type (1), content."""
    assert data[:4] == b":W&B"
    place, parts = _HEADER, b""
    while place + _CHUNK_HEADER <= len(data):
        left = _BLOCK - place % _BLOCK
        if left < _CHUNK_HEADER:
            place += left
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        parts += data[place + _CHUNK_HEADER : place + _CHUNK_HEADER + length]
        place += _CHUNK_HEADER + length
        if kind in (1, 4):  # the whole of a record, or its last part
            yield parts
            parts = b""
