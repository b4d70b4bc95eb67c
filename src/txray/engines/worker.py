"""Code that runs in the processes of a cluster: read shards, and merge results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from txray.errors import TxrayError
from txray.preferences import Stage, merge_stages

if TYPE_CHECKING:
    from txray.capture.request import CollectRequest
    from txray.capture.scales import Scales
    from txray.capture.single_pass import Collection
    from txray.corpus.corpus import Corpus

Result = TypeVar("Result")


@dataclass(frozen=True)
class ShardStatus:
    """Status of a shard. The result itself stays in the object store, because it may be large.

    Attributes:
        empty: True for a shard without documents.
        error: an error of txray, to be raised by the caller of the collection.
    """

    empty: bool = False
    error: TxrayError | None = None


class Worker:
    """Holds a copy of the model and reads one shard after the other."""

    def __init__(self, n_shards: int, workers_per_machine: int) -> None:
        """Start idle; `begin` takes the model, because Ray reports errors of methods better than of constructors."""
        self._n_shards = n_shards
        self._workers_per_machine = workers_per_machine
        self._corpus: Corpus | None = None
        self._collection: Collection | None = None

    def begin(
        self, model: Any, corpus: Corpus, request: CollectRequest, cpus: int, gpus: float
    ) -> ShardStatus:
        """Move the model to this worker's device and inspect it."""
        import torch

        from txray.capture.single_pass import Collection
        from txray.models.text_model import module_of

        torch.set_num_threads(cpus)
        try:
            if gpus and torch.cuda.is_available():
                module_of(model).to(torch.device("cuda"))
            self._corpus = corpus
            self._collection = Collection(replace(request, model=model, corpus=corpus))
        except TxrayError as error:
            return ShardStatus(error=error)
        return ShardStatus()

    def measure_scales(self, number: int) -> tuple[ShardStatus, list[dict[str, Any]] | None]:
        """Return the sums of all activations of a shard, per layer that standardizes."""

        def measure(collection: Collection, shard: Corpus) -> list[dict[str, Any]]:
            tallies = collection.scale_tallies()
            collection.measure_scales(shard, tallies)
            return [tally.state_dict() for tally in tallies]

        return self._read(number, measure)

    def collect(self, number: int, scales: Scales | None) -> tuple[ShardStatus, Stage | None]:
        """Return the stage of a shard."""
        from txray.capture.estimate import allowed_memory

        def collect(collection: Collection, shard: Corpus) -> Stage:
            collection.require_memory(shard, allowed_memory() // self._workers_per_machine)
            return collection.stage(shard, scales or collection.request.scales)

        return self._read(number, collect)

    def _read(
        self, number: int, read: Callable[[Collection, Corpus], Result]
    ) -> tuple[ShardStatus, Result | None]:
        if self._collection is None or self._corpus is None:
            raise RuntimeError("a worker was given a shard before the model")
        try:
            shard = self._corpus.shard(number, self._n_shards)
            if shard.is_empty():
                return ShardStatus(empty=True), None
            return ShardStatus(), read(self._collection, shard)
        except TxrayError as error:
            return ShardStatus(error=error), None


def merged(*stages: Stage) -> tuple[ShardStatus, Stage]:
    """Merge several shards, or merged shards; needs neither the model nor torch."""
    return ShardStatus(), merge_stages(stages)
