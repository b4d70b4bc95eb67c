"""Results of shards, merged two by two by processes of the cluster: nobody holds all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from txray.engines.worker import merged
from txray.preferences import Stage, merge_stages


@dataclass(frozen=True, eq=False)
class Partial:
    """The result of some shards.

    Attributes:
        numbers: of the shards, each of which is in one partial result only.
        result: Ray's reference of the stage.
    """

    numbers: frozenset[int]
    result: Any


class Tree:
    """Partial results that wait for one of about their size, so that the same rows are merged again seldom.

    Attributes:
        empty: numbers of shards without documents.
    """

    def __init__(self, ray: Any, most: int) -> None:
        """No results yet.

        Args:
            ray: the library.
            most: merges at the same time.
        """
        self.empty: set[int] = set()
        self._most = most
        self._waiting: list[Partial] = []
        self._merging: dict[Any, tuple[frozenset[int], Any]] = {}
        self._ray = ray
        # No processor of its own, because workers may have taken all of them: without, it would wait for ever.
        # Spread over the machines, because results are large.
        self._merge = ray.remote(num_cpus=0, num_returns=2, max_retries=3, scheduling_strategy="SPREAD")(
            merged
        )

    def add(self, numbers: Iterable[int], result: Any) -> None:
        """Take a result."""
        self._waiting.append(Partial(frozenset(numbers), result))

    def merge_some(self, *, more_to_come: bool) -> list[Any]:
        """Start what can be merged now; the references of all that is being merged.

        Args:
            more_to_come: whether other results are still expected from workers.
        """
        while len(self._waiting) > 1 and len(self._merging) < self._most:
            self._waiting.sort(key=lambda partial: (len(partial.numbers), min(partial.numbers)))
            pair = next(
                (
                    pair
                    for pair in zip(self._waiting, self._waiting[1:], strict=False)
                    if _level(pair[0]) == _level(pair[1])
                ),
                None,
            )
            if pair is None and (more_to_come or self._merging):
                break
            chosen = pair or (self._waiting[0], self._waiting[1])
            self._waiting = [each for each in self._waiting if each not in chosen]
            done, result = self._merge.remote(*(each.result for each in chosen))
            self._merging[done] = chosen[0].numbers | chosen[1].numbers, result
        return list(self._merging)

    def merged(self, reference: Any) -> list[int]:
        """Take what a merge has come to.

        Returns:
            The shards that have to be read again, because their results were lost with a machine; else none.
        """
        numbers, result = self._merging.pop(reference)
        try:
            self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise (error.cause or error) from None
        except self._ray.exceptions.RayError:
            return sorted(numbers)
        self._waiting.append(Partial(numbers, result))
        return []

    def __contains__(self, reference: object) -> bool:
        """Whether this is a merge that is under way."""
        return reference in self._merging

    def result(self) -> Stage | None:
        """The one result that is left; None where all shards were empty.

        Raises:
            RayError: it was lost with a machine; it is not held any more.
        """
        if not self._waiting:
            return None
        whole = self._waiting.pop()
        stage: Stage = self._ray.get(whole.result)
        # One shard alone is merged as well: it becomes the whole of which it was a part.
        return stage if len(whole.numbers) > 1 else merge_stages([stage])


def _level(partial: Partial) -> int:
    return len(partial.numbers).bit_length()
