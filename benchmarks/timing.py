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


def ratio(first: Work, second: Work, *, rounds: int = 5) -> Ratio:
    """Time two works in turn, after one round that does not count.

    Shared machines change their speed from minute to minute, so only rounds are compared, never sums.
    """
    first()
    second()
    pairs = [(_seconds(first), _seconds(second)) for _ in range(rounds)]
    ratios = [one / two for one, two in pairs]
    return Ratio(
        median(one for one, _ in pairs),
        median(two for _, two in pairs),
        median(ratios),
        min(ratios),
        max(ratios),
        rounds,
    )


def _seconds(work: Work) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
