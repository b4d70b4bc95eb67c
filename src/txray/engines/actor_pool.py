"""Distribute shards over the workers of a cluster, so that every shard counts once."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple, Self

from txray.capture.scales import Scales, ScaleTally
from txray.engines.cluster import Cluster, RemoteHandles
from txray.engines.merge_tree import MergeTree
from txray.engines.shard_store import ShardStore
from txray.engines.worker import ShardStatus, Worker
from txray.errors import EngineError, in_one_line
from txray.preferences import Stage
from txray.progress import progress


class _Reading(NamedTuple):
    """A shard that a worker is reading."""

    worker: Any
    number: int
    result: Any


class ActorPool:
    """A context with workers, which end with it.

    Every worker reads one shard at a time. The shard of a worker that ends returns to the queue, and its partial result
    is discarded, so each shard gives one result.
    """

    def __init__(
        self,
        cluster: Cluster,
        handles: RemoteHandles,
        workers: int,
        n_shards: int,
        cpus: int,
        gpus: float,
        retries: int,
    ) -> None:
        """Start without workers.

        Args:
            cluster: connected.
            handles: model, corpus and request in the cluster's memory.
            workers: number of workers.
            n_shards: number of shards.
            cpus, gpus: per worker.
            retries: how often a shard is given to another worker before the collection fails.
        """
        self._ray = cluster.ray
        self._handles = handles
        self._n_workers = workers
        self._n_shards = n_shards
        self._cpus = cpus
        self._gpus = gpus
        self._retries = retries
        self._workers_per_machine = cluster.workers_per_machine(workers)
        self._remote = self._ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=0)(Worker)
        self._starting: dict[Any, Any] = {}
        self._idle: list[Any] = []
        self._reading: dict[Any, _Reading] = {}
        self._lost: Counter[int] = Counter()
        self._n_failed_starts = 0

    def __enter__(self) -> Self:
        for _ in range(self._n_workers):
            self._start_worker()
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        busy = [reading.worker for reading in self._reading.values()]
        for worker in [*self._starting.values(), *self._idle, *busy]:
            with suppress(Exception):  # it may have ended already
                self._ray.kill(worker)

    def measure_scales(self, tallies: Sequence[ScaleTally], label: str) -> None:
        """Add the sums of all shards to empty tallies, in the order of their numbers so that all bits are reproducible.

        Raises:
            TxrayError: a worker cannot read its shard.
            EngineError: workers end repeatedly.
        """
        waiting: dict[int, list[dict[str, Any]] | None] = {}
        n_added = 0

        def on_done(number: int, status: ShardStatus, result: Any) -> None:
            nonlocal n_added
            waiting[number] = None if status.empty else self._ray.get(result)
            while n_added + 1 in waiting:
                n_added += 1
                for tally, state in zip(tallies, waiting.pop(n_added) or (), strict=False):
                    tally.merge(state)

        self._read(
            range(1, self._n_shards + 1),
            lambda worker, number: worker.measure_scales.options(num_returns=2).remote(number),
            on_done,
            None,
            label,
        )

    def collect(
        self, scales: Scales | None, store: ShardStore | None, label: str
    ) -> tuple[Stage | None, frozenset[int]]:
        """Return the stage of all shards together (None if all are empty), and the numbers of the empty shards.

        Args:
            scales: measured in a first pass.
            store: holds shards that need not be read again, and receives those that are read now; None for no store.
            label: text of the progress bar.

        Raises:
            TxrayError: a worker cannot read its shard.
            EngineError: workers end repeatedly.
        """
        tree = MergeTree(self._ray, self._n_shards, max_merges=self._n_workers)
        empty: set[int] = set()
        scales_handle = self._ray.put(scales)

        def on_done(number: int, status: ShardStatus, result: Any) -> None:
            if status.empty:
                empty.add(number)
                tree.leave_out(number)
                return
            if store is not None:
                store.save(number, self._ray.get(result))
            tree.add(number, result)

        def without_stored(numbers: Iterable[int]) -> list[int]:
            missing = set(numbers)
            for number, stage in () if store is None else store.load(sorted(missing)):
                tree.add(number, self._ray.put(stage))
                missing.discard(number)
            return sorted(missing)

        numbers = without_stored(range(1, self._n_shards + 1))
        while True:
            self._read(
                numbers,
                lambda worker, number: worker.collect.options(num_returns=2).remote(number, scales_handle),
                on_done,
                tree,
                label,
                without_stored,
            )
            try:
                return tree.result(), frozenset(empty)
            except self._ray.exceptions.RayError as error:
                nonempty = set(range(1, self._n_shards + 1)) - empty
                self._count_losses(nonempty, error)
                numbers = without_stored(nonempty)

    def _read(
        self,
        numbers: Iterable[int],
        submit: Callable[[Any, int], tuple[Any, Any]],
        on_done: Callable[[int, ShardStatus, Any], None],
        tree: MergeTree | None,
        label: str,
        without_stored: Callable[[Iterable[int]], list[int]] = sorted,
    ) -> None:
        """Read all shards, and merge results as soon as possible.

        Args:
            numbers: numbers of the shards.
            submit: gives a shard to a worker; returns the references of its status and of its result.
            on_done: called with the number of a shard, its status, and the reference of its result.
            tree: merges the results.
            label: text of the progress bar.
            without_stored: returns which of the shards with lost results must be read again.
        """
        waiting = deque(numbers)
        with progress(label, self._n_shards, unit="shards") as advance:
            advance(self._n_shards - len(waiting))
            while True:
                while waiting and self._idle:
                    worker, number = self._idle.pop(), waiting.popleft()
                    status, result = submit(worker, number)
                    self._reading[status] = _Reading(worker, number, result)
                merging = tree.merge_some() if tree is not None else []
                if not (waiting or self._reading or merging):
                    return
                (first, *_), _ = self._ray.wait(
                    [*self._starting, *self._reading, *merging], num_returns=1, fetch_local=False
                )
                if tree is not None and first in tree:
                    lost = tree.merged(first)
                    self._count_losses(lost, "its result was lost with a machine")
                    unread = without_stored(lost)
                    waiting.extend(unread)
                    advance(-len(unread))
                elif first in self._starting:
                    self._on_started(first)
                else:
                    reading = self._reading.pop(first)
                    if self._finish(first, reading, on_done):
                        advance()
                    else:
                        waiting.appendleft(reading.number)

    def _finish(
        self, reference: Any, reading: _Reading, on_done: Callable[[int, ShardStatus, Any], None]
    ) -> bool:
        """Take the result of a worker; return False if the shard must be read again."""
        try:
            status = self._status(reference)
        except self._ray.exceptions.RayError as error:
            self._replace(reading.worker)
            self._count_losses((reading.number,), error)
            return False
        self._idle.append(reading.worker)
        try:
            on_done(reading.number, status, reading.result)
        except self._ray.exceptions.RayError as error:
            self._count_losses((reading.number,), error)
            return False
        return True

    def _on_started(self, reference: Any) -> None:
        """Put a worker that has started to use, or replace it."""
        worker = self._starting.pop(reference)
        try:
            self._status(reference)
        except self._ray.exceptions.RayError as error:
            self._n_failed_starts += 1
            if self._n_failed_starts > self._retries:
                raise EngineError(
                    f"engine ray: {self._n_failed_starts} workers ended before they read anything "
                    f"({in_one_line(error)}); check that the model fits into the memory of a worker, and that txray is "
                    "installed on every machine"
                ) from error
            self._replace(worker)
            return
        self._idle.append(worker)

    def _status(self, reference: Any) -> ShardStatus:
        """Return the status that a worker reports.

        Raises:
            TxrayError: reported by the worker.
            RayError: the worker is gone.
        """
        try:
            status: ShardStatus = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            # An error of the user's own code on the worker is raised as if it had occurred in this process.
            raise (error.cause or error) from None
        if status.error is not None:
            raise status.error
        return status

    def _start_worker(self) -> None:
        worker = self._remote.remote(self._n_shards, self._workers_per_machine)
        handles = self._handles
        started = worker.begin.remote(handles.model, handles.corpus, handles.request, self._cpus, self._gpus)
        self._starting[started] = worker

    def _replace(self, worker: Any) -> None:
        # A worker that is only unreachable for the moment must not continue beside its successor.
        with suppress(Exception):
            self._ray.kill(worker)
        self._start_worker()

    def _count_losses(self, numbers: Iterable[int], reason: object) -> None:
        for number in numbers:
            self._lost[number] += 1
            if self._lost[number] > self._retries:
                message = in_one_line(reason) if isinstance(reason, BaseException) else reason
                raise EngineError(
                    f"engine ray: shard {number}/{self._n_shards} was lost {self._lost[number]} times ({message}); use "
                    "more shards or fewer workers per machine if memory is short, and see the logs of Ray"
                )
