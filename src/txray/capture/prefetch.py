"""Work ahead: the next batches are made in a thread of their own while the model runs."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from queue import Empty, Full, Queue
from typing import TypeVar

Item = TypeVar("Item")

_PATIENCE = 0.1
"""Seconds after which a thread that waits looks whether anybody still wants its items."""


def prefetched(items: Iterable[Item], ahead: int = 2) -> Iterator[Item]:
    """The same items in the same order; errors come where the item would have come.

    Args:
        items: read in another thread, from the first to the last.
        ahead: how many wait at most.
    """
    ready: Queue[tuple[Item | None, BaseException | None]] = Queue(ahead)
    given_up = threading.Event()

    def put(item: Item | None, error: BaseException | None = None) -> None:
        while not given_up.is_set():
            try:
                ready.put((item, error), timeout=_PATIENCE)
            except Full:
                continue
            return

    def work() -> None:
        try:
            for item in items:
                put(item)
                if given_up.is_set():
                    return
            put(None, StopIteration())
        except BaseException as error:  # the adapter of the items must hear of everything
            put(None, error)

    thread = threading.Thread(target=work, name="txray-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            try:
                item, error = ready.get(timeout=_PATIENCE)
            except Empty:
                continue
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]
    finally:
        given_up.set()
        # A source that waits for something of its own is not waited for.
        thread.join(timeout=10 * _PATIENCE)
