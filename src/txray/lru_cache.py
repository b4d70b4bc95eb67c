"""A cache of a bounded number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

Value = TypeVar("Value")


class LRUCache:
    """The most recently used values, up to a number of bytes; safe to use from several threads."""

    def __init__(self, max_bytes: int) -> None:
        """Start empty.

        Args:
            max_bytes: limit of all values together; the value used last stays whatever its size.
        """
        self._max_bytes = max_bytes
        self._entries: OrderedDict[Any, tuple[Any, int]] = OrderedDict()
        self._lock = Lock()
        self._computing: dict[Any, Lock] = {}

    def get(self, key: Any, compute: Callable[[], Value], size_of: Callable[[Value], int]) -> Value:
        """Return the value of a key, and compute it first if it is not in the cache.

        Args:
            key: hashable.
            compute: called once for all threads that want this key; threads that want other keys do not wait.
            size_of: returns the bytes of a value.
        """
        hit, value = self._find(key)
        if hit:
            return value  # type: ignore[no-any-return]
        with self._lock:
            computing = self._computing.setdefault(key, Lock())
        with computing:
            hit, value = self._find(key)
            if hit:
                return value  # type: ignore[no-any-return]
            try:
                computed = compute()
                with self._lock:
                    self._entries[key] = (computed, size_of(computed))
                    self._entries.move_to_end(key)
                    while len(self._entries) > 1 and self._n_bytes() > self._max_bytes:
                        self._entries.popitem(last=False)
                return computed
            finally:
                with self._lock:
                    self._computing.pop(key, None)

    def _n_bytes(self) -> int:
        return sum(size for _, size in self._entries.values())

    def _find(self, key: Any) -> tuple[bool, Any]:
        with self._lock:
            if key not in self._entries:
                return False, None
            self._entries.move_to_end(key)
            return True, self._entries[key][0]
