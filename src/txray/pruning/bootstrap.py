"""How sure a change of a metric is: groups of documents are resampled, and random sets drawn beside."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

INTERVAL = 0.95
"""Share of samples that an interval should cover the truth in."""

BETTER, WORSE, SAME = "better", "worse", "not distinguishable"


def resampled(groups: NDArray[np.int64], resamples: int, digest: str) -> NDArray[np.float64]:
    """Return (resamples, n_documents) counts of each document in samples with replacement.

    Whole groups are drawn, as many as there are (a cluster bootstrap), so documents of one group have equal counts.
    The same groups are resampled in the same way whatever is compared: sets, metrics, trainings.

    Args:
        groups: (n_documents,) number of the group of each document, see `group_numbers`; at least one document.
        resamples: number of samples.
        digest: of the documents.
    """
    n = int(groups.max()) + 1
    seed = int.from_bytes(hashlib.sha256(digest.encode()).digest()[:8], "little")
    random = np.random.default_rng([seed, n])
    drawn = random.multinomial(n, np.full(n, 1 / n), size=resamples)
    # `take` gives rows that lie together in memory, `drawn[:, groups]` does not: the last digits of sums depend on it.
    return drawn.take(groups, axis=1).astype(np.float64)


def group_numbers(keys: Sequence[int]) -> NDArray[np.int64]:
    """Return (n,) numbers of groups, counted from 0 in the order of their first document.

    Args:
        keys: `Document.fold_key` of each document: those of one key depend on each other.
    """
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def bounds(samples: NDArray[np.float64]) -> tuple[float, float]:
    """Percentile interval of a bootstrap; NaN where there are no samples."""
    known = samples[np.isfinite(samples)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2])
    return float(low), float(high)


_ENOUGH = 19
"""Random sets of which one in twenty is the farthest by chance, whatever the scatter."""


@dataclass(frozen=True)
class AgainstRandom:
    """One value beside those of random sets.

    Attributes:
        mean, deviation: of the random sets.
        difference: value - mean.
        n: how many there are.
        low, high: interval of the difference to one more random set, documents resampled: where it leaves out 0, the
            set is unlike a random one.
        difference_p_value: two-sided, by the same distribution as the interval; NaN where there is none.
        p_value: (1 + random sets at least as far from their mean) / (1 + random sets).
    """

    n: int
    mean: float
    deviation: float
    difference: float
    low: float
    high: float
    difference_p_value: float
    p_value: float

    def verdict(self, sign: int) -> str:
        """Whether the set is better or worse than random ones.

        Args:
            sign: 1 where more is better, -1 where less is.
        """
        if not (np.isfinite(self.low) and np.isfinite(self.high)) or self.low <= 0 <= self.high:
            return SAME
        if _too_few_alike(self.n, self.deviation):
            return SAME
        return BETTER if sign * self.difference > 0 else WORSE


def against_random(
    value: float, random: Sequence[float], differences: NDArray[np.float64] | None
) -> AgainstRandom:
    """Hold one value against those of random sets.

    The variance of a difference to one more random set has two parts: that of random sets among each other, estimated
    from those drawn (with Student's t for their number), and that of the documents, by the bootstrap.

    Args:
        value: with the set.
        random: (n,) with random sets, over the same documents.
        differences: (resamples,) value less the mean of the random sets for the same resampled groups; None where
            documents are not known.
    """
    found = np.asarray(random, np.float64)
    n = len(found)
    mean, deviation = float(found.mean()), float(found.std(ddof=1)) if n > 1 else float("nan")
    difference = value - mean
    known = np.zeros(0) if differences is None else differences[np.isfinite(differences)]
    of_documents = float(known.var(ddof=1)) if len(known) > 1 else 0.0
    spread = np.sqrt(deviation**2 * (1 + 1 / n) + of_documents)
    reach = float(student.ppf((1 + INTERVAL) / 2, n - 1)) * spread if n > 1 else float("nan")
    as_far = int((np.abs(found - mean) >= abs(difference)).sum())
    by_rank = (1 + as_far) / (1 + n)
    p_value = by_rank
    if n < 2 or _too_few_alike(n, deviation):
        p_value = float("nan")
    elif spread > 0:
        p_value = float(2 * student.sf(abs(difference) / spread, n - 1))
    return AgainstRandom(
        n, mean, deviation, difference, difference - reach, difference + reach, p_value, by_rank
    )


def _too_few_alike(n: int, deviation: float) -> bool:
    """Return whether random sets all do the same and are so few that this says nothing of how others scatter."""
    return deviation == 0 and n < _ENOUGH
