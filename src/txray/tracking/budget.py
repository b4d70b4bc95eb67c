"""How much of the time of a training may be spent on looking at it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from txray.checks import is_number
from txray.errors import UsageError

_GROWTH = (1.0, 3.5, 2.5, 1.5)
"""How many times as long as the longest look so far the next may take, by how many there were: the first compares with
nothing, the second with one stage, later ones with two."""


@dataclass
class Budget:
    """A share of the time of training, and what has been spent of it.

    The first and the last look are always taken, since without them there is nothing to tell. Those between give
    way: one is taken where the time trained so far pays for it, for what was spent before, and for the last.

    Attributes:
        share: seconds that may be spent per second of training; None: any.
        spent: seconds, so far.
        clock: seconds that only grow.

    Raises:
        UsageError: a share that is no number above 0, at most 1.
    """

    share: float | None
    spent: float = 0.0
    clock: Callable[[], float] = time.monotonic
    _begun: float = field(init=False)
    _longest: float = field(init=False, default=0.0)
    _looks: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        if self.share is not None and not (is_number(self.share) and 0 < self.share <= 1):
            raise UsageError(
                f"tracker: budget={self.share!r}; give the share of the time of training, such as 0.05 for 5 %"
            )
        self._begun = self.clock()

    @property
    def trained(self) -> float:
        """Seconds since the beginning that were not spent on looking."""
        return self.clock() - self._begun - self.spent

    @property
    def exceeded(self) -> bool:
        """Whether more was spent than the share allows."""
        return self.share is not None and self.spent > self.share * self.trained

    def allows(self) -> bool:
        """Whether one more look can be paid for, and another one in the end."""
        if self.share is None:
            return True
        expected = self._longest * _GROWTH[min(self._looks, len(_GROWTH) - 1)]
        return self.spent + 2 * expected <= self.share * self.trained

    @contextmanager
    def spending(self) -> Iterator[None]:
        """What happens inside is a look."""
        begun = self.clock()
        try:
            yield
        finally:
            took = self.clock() - begun
            self.spent += took
            self._longest = max(self._longest, took)
            self._looks += 1
