"""Prefetch batches in a separate thread while the model runs."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from queue import Empty, Full, Queue
from typing import TypeVar

Item = TypeVar("Item")

_POLL_SECONDS = 0.1
"""Interval at which a waiting thread checks whether its items are still needed."""


def prefetched(items: Iterable[Item], ahead: int = 2) -> Iterator[Item]:
    """Yield the same items in the same order; an error is raised where the item would have come.

    Args:
        items: iterated in another thread.
        ahead: maximum number of items that wait.
    """
    ready: Queue[tuple[Item | None, BaseException | None]] = Queue(ahead)
    cancelled = threading.Event()

    def put(item: Item | None, error: BaseException | None = None) -> None:
        while not cancelled.is_set():
            try:
                ready.put((item, error), timeout=_POLL_SECONDS)
            except Full:
                continue
            return

    def work() -> None:
        try:
            for item in items:
                put(item)
                if cancelled.is_set():
                    return
            put(None, StopIteration())
        except BaseException as error:  # the consumer of the items must receive every error
            put(None, error)

    thread = threading.Thread(target=work, name="txray-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            try:
                item, error = ready.get(timeout=_POLL_SECONDS)
            except Empty:
                continue
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]
    finally:
        cancelled.set()
        # Do not wait for a source that is blocked.
        thread.join(timeout=10 * _POLL_SECONDS)
