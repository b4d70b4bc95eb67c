"""A cache of a bounded number of bytes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from txray.lru_cache import LRUCache


def test_a_cache_holds_at_most_its_bytes() -> None:
    cache, made = LRUCache(10), []

    def value(key: int) -> int:
        return cache.get(key, lambda: made.append(key) or key, lambda _: 4)  # type: ignore[func-returns-value]

    assert [value(key) for key in (1, 2, 1, 3)] == [1, 2, 1, 3]
    # 1 was used after 2, so 2 has gone.
    assert value(1) == 1
    assert made == [1, 2, 3]
    assert value(2) == 2
    assert made == [1, 2, 3, 2]


def test_a_cache_keeps_a_value_that_is_too_large_alone() -> None:
    cache, made = LRUCache(10), []
    for key in ("large", "large", "small", "large"):
        cache.get(key, lambda key=key: made.append(key), lambda _, key=key: 99 if key == "large" else 1)  # type: ignore[misc]
    assert made == ["large", "small", "large"]


def test_a_cache_is_safe_to_use_from_several_threads() -> None:
    cache = LRUCache(500)

    def use(seed: int) -> bool:
        keys = np.random.default_rng(seed).integers(0, 30, 3_000).tolist()
        return all(cache.get(key, lambda key=key: key * 7, lambda _: 100) == key * 7 for key in keys)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(use, range(8)))
    assert len(cache._values) <= 5
