"""Verdicts on whether two numbers are the same within a margin: "no difference found" is not "the same"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import t as student

from txray.arrays import Floats
from txray.errors import UsageError

EquivalenceVerdict = Literal["same", "different", "cannot tell"]

MARGIN = 0.03
"""Default relative margin within which two numbers count as the same."""

_TAIL = 0.05
"""Level of each of the two one-sided tests; the interval between their limits is a 90% interval."""


@dataclass(frozen=True)
class Equivalence:
    """A difference with its 90% interval, and whether it lies within a margin.

    `same` is the result of two one-sided tests at 5%: the whole interval lies within the margin. `different`: it does
    not contain 0. Everything else is `cannot tell`, with the smallest margin that the data would support.

    >>> str(Equivalence(0.01, low=-0.01, high=0.02, margin=0.03))
    'the same within 3% (+1%, 90% interval -1% to +2%)'
    >>> Equivalence(0.01, low=-0.10, high=0.12, margin=0.03).verdict
    'cannot tell'

    Attributes:
        change: the estimate: a relative change, such as 0.02 for 2%, or a difference.
        low, high: bounds of its 90% interval; NaN if it is not known.
        margin: largest difference, on either side, that counts as none.
        relative: whether these are shares, to show as percentages.

    Raises:
        UsageError: a margin that is not positive.

    Source:
        Schuirmann 1987 (two one-sided tests).
    """

    change: float
    low: float
    high: float
    margin: float = MARGIN
    relative: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.margin < np.inf:
            raise UsageError(f"equivalence: margin={self.margin}; pass a positive number, such as {MARGIN}")

    @property
    def verdict(self) -> EquivalenceVerdict:
        """Return `same`, `different` or `cannot tell`."""
        if self.smallest_margin < self.margin:
            return "same"
        return "different" if self.low > 0 or self.high < 0 else "cannot tell"

    @property
    def smallest_margin(self) -> float:
        """Return the margin beyond which the numbers would be the same; infinite without an interval."""
        margin = max(abs(self.low), abs(self.high))
        return float("inf") if np.isnan(self.low + self.high) else float(margin)

    def __str__(self) -> str:
        margin = f"{100 * self.margin:g}%" if self.relative else f"{self.margin:g}"
        names = {
            "same": f"the same within {margin}",
            "different": "different",
            "cannot tell": f"cannot tell whether it is the same within {margin}",
        }
        change, low, high = map(self._signed, (self.change, self.low, self.high))
        interval = "" if np.isnan(self.low + self.high) else f", 90% interval {low} to {high}"
        return f"{names[self.verdict]} ({change}{interval})"

    def _signed(self, value: float) -> str:
        if np.isnan(value):
            return "not known"
        if not self.relative:
            return f"{value:+.3g}"
        share = 100 * value
        return f"{share:+.1f}%" if abs(share) < 1 else f"{share:+.0f}%"


def of_differences(differences: Floats, margin: float, *, relative: bool = False) -> Equivalence:
    """Return whether the mean of paired differences is 0 within a margin.

    >>> of_differences(np.array([0.01, -0.01, 0.0, 0.01]), margin=0.05).verdict
    'same'

    Args:
        differences: (n,) independent differences, such as one per document.
        margin: in their unit.
        relative: whether they are shares.
    """
    values = np.asarray(differences, np.float64)
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return Equivalence(values.mean() if len(values) else np.nan, np.nan, np.nan, margin, relative)
    reach = student.ppf(1 - _TAIL, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    change = float(values.mean())
    return Equivalence(change, change - float(reach), change + float(reach), margin, relative)


def of_ratio(before: Floats, after: Floats, margin: float = MARGIN, *, paired: bool) -> Equivalence:
    """Return whether a quantity of two stages is the same, from its values without one fold each (jackknife).

    Args:
        before, after: (1 + n_folds,) value from all folds, then without each fold; positive.
        margin: relative.
        paired: whether fold i of both holds the same documents, so that both lack it at once.
    """
    if min(len(before), len(after)) < 3 or not (np.all(before > 0) and np.all(after > 0)):
        ratio = float(after[0] / before[0]) - 1 if before[0] > 0 else float("nan")
        return Equivalence(ratio, np.nan, np.nan, margin)
    sides = [np.log(np.asarray(side, np.float64)) for side in (before, after)]
    change = float(sides[1][0] - sides[0][0])
    parts = [sides[1][1:] - sides[0][1:]] if paired else [side[1:] for side in sides]
    variance = sum((len(part) - 1) / len(part) * np.square(part - part.mean()).sum() for part in parts)
    reach = float(student.ppf(1 - _TAIL, min(map(len, parts)) - 1) * np.sqrt(variance))
    # Symmetric for logarithms, so that it does not matter which stage comes first.
    low, change, high = (float(np.expm1(value)) for value in (change - reach, change, change + reach))
    return Equivalence(change, low, high, margin)
