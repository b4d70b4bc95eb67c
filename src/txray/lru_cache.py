"""A cache of values in memory, bounded in bytes and safe to use from several threads."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

Value = TypeVar("Value")


class LRUCache:
    """The most recently used values, up to a number of bytes.

    Unlike `cachetools.LRUCache`, it computes a missing value once for all threads that need it, without blocking
    threads that need another, and keeps the latest value even if that alone exceeds the limit.
    """

    def __init__(self, max_bytes: int) -> None:
        """Start empty.

        Args:
            max_bytes: limit of all values together.
        """
        self._max_bytes = max_bytes
        self._values: OrderedDict[Any, tuple[Any, int]] = OrderedDict()
        self._lock = Lock()
        self._computing: dict[Any, Lock] = {}

    def get(self, key: Any, compute: Callable[[], Value], size_of: Callable[[Value], int]) -> Value:
        """Return the value of a key; computed if it is not in the cache.

        Args:
            key: hashable.
            compute: called without arguments.
            size_of: returns the bytes of a value.
        """
        with self._lock:
            if key in self._values:
                return self._used(key)  # type: ignore[no-any-return]
            computing = self._computing.setdefault(key, Lock())
        with computing:
            with self._lock:
                if key in self._values:
                    return self._used(key)  # type: ignore[no-any-return]
            try:
                value = compute()
                with self._lock:
                    self._values[key] = value, size_of(value)
                    while len(self._values) > 1 and self._bytes() > self._max_bytes:
                        self._values.popitem(last=False)
                return value
            finally:
                with self._lock:
                    self._computing.pop(key, None)

    def _used(self, key: Any) -> Any:
        self._values.move_to_end(key)
        return self._values[key][0]

    def _bytes(self) -> int:
        return sum(size for _, size in self._values.values())
