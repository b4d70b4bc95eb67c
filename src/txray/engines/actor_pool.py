"""Workers of a cluster, and the shards that they read: every shard once, whichever worker it takes."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple, Self

from txray.capture.request import Scales
from txray.capture.scales import ScaleTally
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

    Every worker has one shard at a time. The shard of a worker that ends goes back to those that wait, and what came
    of it so far is never looked at: so each number gives one result.
    """

    def __init__(
        self,
        cluster: Cluster,
        parts: RemoteHandles,
        workers: int,
        of: int,
        cpus: int,
        gpus: float,
        retries: int,
    ) -> None:
        """No workers yet.

        Args:
            cluster: that is connected.
            parts: what the workers need.
            workers: how many there are to be.
            of: shards in all.
            cpus, gpus: of each worker.
            retries: how often a shard is given to another worker before it is given up.
        """
        self._ray = cluster.ray
        self._parts = parts
        self._n_workers = workers
        self._of = of
        self._cpus = cpus
        self._gpus = gpus
        self._retries = retries
        self._sharing = cluster.workers_per_machine(workers)
        self._remote = self._ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=0)(Worker)
        self._beginning: dict[Any, Any] = {}
        self._idle: list[Any] = []
        self._reading: dict[Any, _Reading] = {}
        self._lost: Counter[int] = Counter()
        self._lost_early = 0

    def __enter__(self) -> Self:
        for _ in range(self._n_workers):
            self._hire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        busy = [reading.worker for reading in self._reading.values()]
        for worker in [*self._beginning.values(), *self._idle, *busy]:
            with suppress(Exception):  # one that ended by itself is as good
                self._ray.kill(worker)

    def measure(self, tallies: Sequence[ScaleTally], doing: str) -> None:
        """Add what all shards hold to the tallies, in the order of their numbers: the same bits, whoever was faster.

        Args:
            tallies: one per layer that standardizes, empty.
            doing: for the progress bar.

        Raises:
            TxrayError: as reading does.
            EngineError: workers end again and again.
        """
        found: dict[int, list[dict[str, Any]] | None] = {}
        added = 0

        def done(number: int, note: ShardStatus, result: Any) -> None:
            nonlocal added
            found[number] = None if note.empty else self._ray.get(result)
            while added + 1 in found:
                added += 1
                for tally, state in zip(tallies, found.pop(added) or (), strict=False):
                    tally.merge(state)

        self._read(
            range(1, self._of + 1),
            lambda worker, number: worker.measure.options(num_returns=2).remote(number),
            done,
            None,
            doing,
        )

    def collect(
        self, scales: Scales | None, kept: ShardStore, doing: str
    ) -> tuple[Stage | None, frozenset[int]]:
        """The stage of all shards together.

        Args:
            scales: that a first pass found.
            kept: shards that need not be read again, and where to keep those that are.
            doing: for the progress bar.

        Returns:
            The stage, None where all shards are empty, and the numbers of those that are.

        Raises:
            TxrayError: as reading does.
            EngineError: workers end again and again.
        """
        tree = MergeTree(self._ray, self._of, most=self._n_workers)
        empty: set[int] = set()
        scales_there = self._ray.put(scales)

        def done(number: int, note: ShardStatus, result: Any) -> None:
            if note.empty:
                empty.add(number)
                tree.leave_out(number)
                return
            if kept.keeps:
                kept.keep(number, self._ray.get(result))
            tree.add(number, result)

        def unread(numbers: Iterable[int]) -> list[int]:
            left = set(numbers)
            for number, stage in kept.kept(sorted(left)):
                tree.add(number, self._ray.put(stage))
                left.discard(number)
            return sorted(left)

        numbers = unread(range(1, self._of + 1))
        while True:
            self._read(
                numbers,
                lambda worker, number: worker.collect.options(num_returns=2).remote(number, scales_there),
                done,
                tree,
                doing,
                unread,
            )
            try:
                return tree.result(), frozenset(empty)
            except self._ray.exceptions.RayError as error:
                everything = set(range(1, self._of + 1)) - empty
                self._count_losses(everything, error)
                numbers = unread(everything)

    def _read(
        self,
        numbers: Iterable[int],
        submit: Callable[[Any, int], tuple[Any, Any]],
        done: Callable[[int, ShardStatus, Any], None],
        tree: MergeTree | None,
        doing: str,
        unread: Callable[[Iterable[int]], list[int]] = sorted,
    ) -> None:
        """Have shards read until none is left, and merge what can be merged meanwhile.

        Args:
            numbers: of the shards.
            submit: gives a shard to a worker; references of its note and of its result.
            done: takes a shard's note, and the reference of its result.
            tree: merges the results.
            doing: for the progress bar.
            unread: of shards whose results were lost, those that have to be read again.
        """
        waiting = deque(numbers)
        with progress(doing, self._of, unit="shards") as advance:
            advance(self._of - len(waiting))
            while True:
                while waiting and self._idle:
                    worker, number = self._idle.pop(), waiting.popleft()
                    note, result = submit(worker, number)
                    self._reading[note] = _Reading(worker, number, result)
                more = bool(waiting or self._reading)
                merging = tree.merge_some() if tree is not None else []
                if not more and not merging:
                    return
                (first, *_), _ = self._ray.wait(
                    [*self._beginning, *self._reading, *merging], num_returns=1, fetch_local=False
                )
                if tree is not None and first in tree:
                    lost = tree.merged(first)
                    self._count_losses(lost, "its result was lost with a machine")
                    again = unread(lost)
                    waiting.extend(again)
                    advance(-len(again))
                elif first in self._beginning:
                    self._begun(first)
                else:
                    reading = self._reading.pop(first)
                    if self._is_done(first, reading, done):
                        advance()
                    else:
                        waiting.appendleft(reading.number)

    def _is_done(
        self, reference: Any, reading: _Reading, done: Callable[[int, ShardStatus, Any], None]
    ) -> bool:
        """Take what a worker says of its shard; False where the shard has to be read again."""
        try:
            note = self._answer(reference)
        except self._ray.exceptions.RayError as error:
            self._replace(reading.worker)
            self._count_losses((reading.number,), error)
            return False
        self._idle.append(reading.worker)
        try:
            done(reading.number, note, reading.result)
        except self._ray.exceptions.RayError as error:
            self._count_losses((reading.number,), error)
            return False
        return True

    def _begun(self, reference: Any) -> None:
        """Take a worker into service, or replace it."""
        worker = self._beginning.pop(reference)
        try:
            self._answer(reference)
        except self._ray.exceptions.RayError as error:
            self._lost_early += 1
            if self._lost_early > self._retries:
                raise EngineError(
                    f"engine ray: {self._lost_early} workers ended before they read anything ({in_one_line(error)}); "
                    "see that the model fits into the memory of a worker, and that txray is installed on every machine"
                ) from error
            self._replace(worker)
            return
        self._idle.append(worker)

    def _answer(self, reference: Any) -> ShardStatus:
        """A worker's note.

        Raises:
            TxrayError: that the worker tells of.
            RayError: there is no worker any more that could.
        """
        try:
            note: ShardStatus = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            # What the user's own code raised there, as if it had been raised here.
            raise (error.cause or error) from None
        if note.error is not None:
            raise note.error
        return note

    def _hire(self) -> None:
        worker = self._remote.remote(self._of, self._sharing)
        parts = self._parts
        begun = worker.begin.remote(parts.model, parts.corpus, parts.request, self._cpus, self._gpus)
        self._beginning[begun] = worker

    def _replace(self, worker: Any) -> None:
        # One that merely cannot be reached at the moment must not go on beside its successor.
        with suppress(Exception):
            self._ray.kill(worker)
        self._hire()

    def _count_losses(self, numbers: Iterable[int], reason: object) -> None:
        for number in numbers:
            self._lost[number] += 1
            if self._lost[number] > self._retries:
                told = in_one_line(reason) if isinstance(reason, BaseException) else reason
                raise EngineError(
                    f"engine ray: shard {number}/{self._of} was lost {self._lost[number]} times ({told}); give more "
                    "shards or fewer workers per machine if memory is short, and see the logs of Ray"
                )
