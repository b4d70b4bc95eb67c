"""What runs in the processes of a cluster: reading shards, and merging two results."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from txray.errors import TxrayError
from txray.preferences import Stage, merge_stages

if TYPE_CHECKING:
    from txray.capture.request import CollectRequest, Scales
    from txray.capture.single_pass import Collection
    from txray.corpus.corpus import Corpus


@dataclass(frozen=True)
class ShardStatus:
    """What a worker says of a shard; its result goes another way, because it may be large.

    Attributes:
        empty: whether the shard has no documents.
        error: what txray refuses, to be raised where the collection was asked for.
    """

    empty: bool = False
    error: TxrayError | None = None


class Worker:
    """Holds a copy of the model and reads one shard after the other."""

    def __init__(self, of: int, sharing: int) -> None:
        """Nothing is read yet: mistakes come out better of a method than of a constructor.

        Args:
            of: shards in all.
            sharing: workers that share the memory of this machine.
        """
        self._of = of
        self._sharing = sharing
        self._corpus: Corpus | None = None
        self._collection: Collection | None = None

    def begin(
        self, model: Any, corpus: Corpus, request: CollectRequest, cpus: int, gpus: float
    ) -> ShardStatus:
        """Take the model to this worker's device and look at it."""
        import torch

        from txray.capture.single_pass import Collection
        from txray.models.text_model import TextModel

        torch.set_num_threads(cpus)
        try:
            module = model.module if isinstance(model, TextModel) else model
            if gpus and torch.cuda.is_available():
                module.to(torch.device("cuda"))
            self._corpus = corpus
            self._collection = Collection(replace(request, model=model, corpus=corpus))
        except TxrayError as error:
            return ShardStatus(error=error)
        return ShardStatus()

    def measure(self, number: int) -> tuple[ShardStatus, list[dict[str, Any]] | None]:
        """Sums of all activations of a shard, per layer that standardizes."""
        from txray.capture.checkpoint import NoCheckpoints

        collection, shard = self._shard(number)
        try:
            if shard.is_empty():
                return ShardStatus(empty=True), None
            tallies = collection.scale_tallies()
            collection.measure_scales(shard, tallies, NoCheckpoints())
        except TxrayError as error:
            return ShardStatus(error=error), None
        return ShardStatus(), [tally.state_dict() for tally in tallies]

    def collect(self, number: int, scales: Scales | None) -> tuple[ShardStatus, Stage | None]:
        """The stage of a shard."""
        from txray.capture.checkpoint import NoCheckpoints
        from txray.capture.estimate import allowed_memory

        collection, shard = self._shard(number)
        try:
            if shard.is_empty():
                return ShardStatus(empty=True), None
            collection.require_memory(shard, allowed_memory() // self._sharing)
            stage = collection.stage(shard, scales or collection.request.scales, NoCheckpoints())
        except TxrayError as error:
            return ShardStatus(error=error), None
        return ShardStatus(), stage

    def _shard(self, number: int) -> tuple[Collection, Corpus]:
        if self._collection is None or self._corpus is None:
            raise RuntimeError("a worker was given a shard before the model")
        return self._collection, self._corpus.shard(number, self._of)


def merged(*stages: Stage) -> tuple[ShardStatus, Stage]:
    """What several shards, or results of merging some, are together; needs no model and no torch."""
    return ShardStatus(), merge_stages(stages)
