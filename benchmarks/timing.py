"""Times as ratios: both sides in one process, in turn, median of several rounds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

Work = Callable[[], object]


@dataclass(frozen=True)
class Ratio:
    """How much longer one work takes than another.

    Attributes:
        first, second: median seconds.
        value: median of first / second, round by round.
        low, high: smallest and largest of them.
        rounds: how many.
    """

    first: float
    second: float
    value: float
    low: float
    high: float
    rounds: int


def ratio(first: Work, second: Work, *, rounds: int = 5, clock: Callable[[], float] | None = None) -> Ratio:
    """Time two works in turn, after one round that does not count.

    Shared machines change their speed from minute to minute, so only rounds are compared, never sums.

    Args:
        first, second: the works.
        rounds: number of rounds.
        clock: returns seconds, such as `time.process_time` for work on one thread of a busy machine; wall time by
            default.
    """
    clock = clock or time.perf_counter
    first()
    second()
    pairs = [(_seconds(first, clock), _seconds(second, clock)) for _ in range(rounds)]
    ratios = [one / two for one, two in pairs]
    return Ratio(
        median(one for one, _ in pairs),
        median(two for _, two in pairs),
        median(ratios),
        min(ratios),
        max(ratios),
        rounds,
    )


def _seconds(work: Work, clock: Callable[[], float]) -> float:
    started = clock()
    work()
    return clock() - started
