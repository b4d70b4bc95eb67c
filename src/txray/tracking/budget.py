"""Limit on the share of training time that a tracker may use."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from txray.checks import is_number
from txray.errors import UsageError

_GROWTH = (1.0, 3.5, 2.5, 1.5)
"""Expected duration of the next measurement, as a multiple of the longest so far, by the number of measurements taken.
The first compares nothing, the second one pair of stages, later ones two pairs."""


@dataclass
class Budget:
    """Share of the training time that may be spent on measurements, and the time spent so far.

    The first and the last measurement are always taken. One in between is taken only if the training so far pays for
    it, for everything spent before, and for the last one.

    Attributes:
        share: seconds that may be spent per second of training; None: no limit.
        spent: seconds spent so far.
        clock: monotonic clock, in seconds.

    Raises:
        UsageError: `share` is not a number above 0 and at most 1.
    """

    share: float | None
    spent: float = 0.0
    clock: Callable[[], float] = time.monotonic
    _started: float = field(init=False)
    _longest: float = field(init=False, default=0.0)
    _n_measurements: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        if self.share is not None and not (is_number(self.share) and 0 < self.share <= 1):
            raise UsageError(
                f"tracker: budget={self.share!r}; give a share of the training time, such as 0.05 for 5%"
            )
        self._started = self.clock()

    @property
    def trained(self) -> float:
        """Seconds of training: the time since the start that was not spent on measurements."""
        return self.clock() - self._started - self.spent

    @property
    def exceeded(self) -> bool:
        """True if more was spent than the share allows."""
        return self.share is not None and self.spent > self.share * self.trained

    def allows(self) -> bool:
        """Return True if the budget covers one more measurement and the last one."""
        if self.share is None:
            return True
        expected = self._longest * _GROWTH[min(self._n_measurements, len(_GROWTH) - 1)]
        return self.spent + 2 * expected <= self.share * self.trained

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Count the time of the block as one measurement."""
        started = self.clock()
        try:
            yield
        finally:
            seconds = self.clock() - started
            self.spent += seconds
            self._longest = max(self._longest, seconds)
            self._n_measurements += 1
