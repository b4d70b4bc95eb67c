"""Plain values as arrays of bytes, for states that are kept as nothing but arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_bytes(value: Any) -> NDArray[np.uint8]:
    """A JSON value as bytes; numbers come back exactly."""
    return np.frombuffer(json.dumps(value, ensure_ascii=False).encode("utf-8"), dtype=np.uint8)


def from_bytes(array: NDArray[np.uint8]) -> Any:
    """What `as_bytes` was given."""
    return json.loads(array.tobytes().decode("utf-8"))


def with_prefix(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The arrays whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
