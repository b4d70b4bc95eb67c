"""Results of shards, merged two by two by processes of the cluster: nobody holds all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from txray.engines.worker import merged
from txray.preferences import Stage, merge_stages

Block = tuple[int, int]
"""Level and place: of the shards, numbered from 0, those from `place * 2 ** level` up to the next place."""


@dataclass(frozen=True, eq=False)
class Partial:
    """The result of some shards.

    Attributes:
        numbers: of the shards, each of which is in one partial result only.
        result: Ray's reference of the stage.
    """

    numbers: frozenset[int]
    result: Any


class MergeTree:
    """Partial results, each of which waits for its neighbour.

    Which results are merged with which depends on the numbers of their shards alone, so that sums are the same to the
    last bit, whichever worker was faster; and since neighbours are of one size, the same rows are merged seldom.
    """

    def __init__(self, ray: Any, of: int, most: int) -> None:
        """No results yet.

        Args:
            ray: the library.
            of: shards in all.
            most: merges at the same time.
        """
        self._ray = ray
        self._most = most
        self._depth = (of - 1).bit_length()
        # Blocks of which all shards were read; None where nothing came of them, as beyond the last shard.
        self._there: dict[Block, Partial | None] = {(0, place): None for place in range(of, 1 << self._depth)}
        self._merging: dict[Any, tuple[Block, Partial]] = {}
        # No processor of its own, because workers may have taken all of them: without, it would wait for ever.
        # Spread over the machines, because results are large.
        self._merge = ray.remote(num_cpus=0, num_returns=2, max_retries=3, scheduling_strategy="SPREAD")(
            merged
        )

    def add(self, number: int, result: Any) -> None:
        """Take the result of a shard."""
        self._there[0, number - 1] = Partial(frozenset((number,)), result)

    def leave_out(self, number: int) -> None:
        """Know that a shard has no documents."""
        self._there[0, number - 1] = None

    def merge_some(self) -> list[Any]:
        """Start what can be merged now; the references of all that is being merged."""
        moved = True
        while moved:
            moved = False
            for level, place in sorted(self._there):
                block, neighbour = (level, place), (level, place + 1)
                if place % 2 or level == self._depth or not {block, neighbour} <= self._there.keys():
                    continue
                one, other = self._there[block], self._there[neighbour]
                if one is not None and other is not None and len(self._merging) >= self._most:
                    continue
                del self._there[block], self._there[neighbour]
                above = (level + 1, place // 2)
                if one is not None and other is not None:
                    done, result = self._merge.remote(one.result, other.result)
                    self._merging[done] = above, Partial(one.numbers | other.numbers, result)
                else:
                    self._there[above] = one or other
                moved = True
        return list(self._merging)

    def merged(self, reference: Any) -> list[int]:
        """Take what a merge has come to.

        Returns:
            The shards that have to be read again, because their results were lost with a machine; else none.
        """
        block, partial = self._merging.pop(reference)
        try:
            self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise (error.cause or error) from None
        except self._ray.exceptions.RayError:
            return self._lost(block, partial)
        self._there[block] = partial
        return []

    def __contains__(self, reference: object) -> bool:
        """Whether this is a merge that is under way."""
        return reference in self._merging

    def result(self) -> Stage | None:
        """The one result that is left; None where all shards were empty.

        Raises:
            RayError: it was lost with a machine; its shards have to be read again.
        """
        root = (self._depth, 0)
        whole = self._there.pop(root)
        if whole is None:
            return None
        try:
            stage: Stage = self._ray.get(whole.result)
        except self._ray.exceptions.RayError:
            self._lost(root, whole)
            raise
        # One shard alone is merged as well: it becomes the whole of which it was a part.
        return stage if len(whole.numbers) > 1 else merge_stages([stage])

    def _lost(self, block: Block, partial: Partial) -> list[int]:
        """The shards of a block whose result is gone; of its others nothing will come again."""
        level, place = block
        places = range(place << level, (place + 1) << level)
        self._there |= {(0, each): None for each in places if each + 1 not in partial.numbers}
        return sorted(partial.numbers)
