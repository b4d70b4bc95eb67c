"""Merge the results of shards two by two on the cluster, so that no process holds all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from txray.engines.worker import merged
from txray.preferences import Stage, merge_stages

Block = tuple[int, int]
"""Level and index: the shards, numbered from 0, from `index * 2 ** level` up to the next index."""


@dataclass(frozen=True, eq=False)
class Partial:
    """Merged result of the shards finished so far in one branch of the tree.

    Attributes:
        numbers: of the shards; each shard is in one partial result only.
        result: Ray reference of the stage.
    """

    numbers: frozenset[int]
    result: Any


class MergeTree:
    """Partial results, each waiting for its neighbour.

    Only the numbers of the shards decide which results are merged, so sums are the same to the last bit, whichever
    worker was faster; and neighbours are of equal size, so each row is merged only a few times.
    """

    def __init__(self, ray: Any, n_shards: int, max_merges: int) -> None:
        """Start without results of `n_shards` shards; at most `max_merges` merges run at a time."""
        self._ray = ray
        self._max_merges = max_merges
        self._depth = (n_shards - 1).bit_length()
        # Blocks whose shards have all been read; None for empty ones, such as those beyond the last shard.
        self._ready: dict[Block, Partial | None] = {
            (0, index): None for index in range(n_shards, 1 << self._depth)
        }
        self._merging: dict[Any, tuple[Block, Partial]] = {}
        # Without a processor of its own, because workers may have taken all of them and it would wait for ever.
        # Spread over the machines, because results are large.
        self._merge = ray.remote(num_cpus=0, num_returns=2, max_retries=3, scheduling_strategy="SPREAD")(
            merged
        )

    def add(self, number: int, result: Any) -> None:
        """Add the result of a shard."""
        self._ready[0, number - 1] = Partial(frozenset((number,)), result)

    def leave_out(self, number: int) -> None:
        """Mark a shard as empty."""
        self._ready[0, number - 1] = None

    def merge_some(self) -> list[Any]:
        """Start all merges that are possible now; return the references of all merges under way."""
        progressed = True
        while progressed:
            progressed = False
            for level, index in sorted(self._ready):
                block, neighbour = (level, index), (level, index + 1)
                if index % 2 or level == self._depth or not {block, neighbour} <= self._ready.keys():
                    continue
                one, other = self._ready[block], self._ready[neighbour]
                if one is not None and other is not None and len(self._merging) >= self._max_merges:
                    continue
                del self._ready[block], self._ready[neighbour]
                parent = (level + 1, index // 2)
                if one is not None and other is not None:
                    done, result = self._merge.remote(one.result, other.result)
                    self._merging[done] = parent, Partial(one.numbers | other.numbers, result)
                else:
                    self._ready[parent] = one or other
                progressed = True
        return list(self._merging)

    def merged(self, reference: Any) -> list[int]:
        """Take the result of a finished merge.

        Returns:
            Numbers of the shards to read again, because their results were lost with a machine; usually none.
        """
        block, partial = self._merging.pop(reference)
        try:
            self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise (error.cause or error) from None
        except self._ray.exceptions.RayError:
            return self._lost(block, partial)
        self._ready[block] = partial
        return []

    def __contains__(self, reference: object) -> bool:
        """Return whether this is a merge under way."""
        return reference in self._merging

    def result(self) -> Stage | None:
        """Return the merged result; None if all shards were empty.

        Raises:
            RayError: it was lost with a machine; its shards have to be read again.
        """
        root = (self._depth, 0)
        whole = self._ready.pop(root)
        if whole is None:
            return None
        try:
            stage: Stage = self._ray.get(whole.result)
        except self._ray.exceptions.RayError:
            self._lost(root, whole)
            raise
        # A single shard is merged too, which turns its description from a shard into a whole.
        return stage if len(whole.numbers) > 1 else merge_stages([stage])

    def _lost(self, block: Block, partial: Partial) -> list[int]:
        """Return the shards of a block whose result is gone, and mark its other shards as empty."""
        level, index = block
        leaves = range(index << level, (index + 1) << level)
        self._ready |= {(0, leaf): None for leaf in leaves if leaf + 1 not in partial.numbers}
        return sorted(partial.numbers)
