"""JSON values as arrays of bytes, for states that consist of arrays only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_bytes(value: Any) -> NDArray[np.uint8]:
    """Encode a JSON value as bytes; numbers survive exactly."""
    return np.frombuffer(json.dumps(value, ensure_ascii=False).encode("utf-8"), dtype=np.uint8)


def from_bytes(array: NDArray[np.uint8]) -> Any:
    """Decode the value that `as_bytes` encoded."""
    return json.loads(array.tobytes().decode("utf-8"))


def with_prefix(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the arrays whose names start with a prefix, named without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
