"""Tables of measured numbers, and the numbers that several of them need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike
from scipy.stats import rankdata


@dataclass(frozen=True)
class Table:
    """A Markdown table.

    Attributes:
        columns: their headings.
        rows: cells as text.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        lines = [self.columns, ["---", *["---:"] * (len(self.columns) - 1)], *self.rows]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)


Measured = Callable[[], Table]


def auc(score: ArrayLike, positive: ArrayLike) -> float:
    """Area under the ROC curve: how often a positive has the higher score than a negative; ties count half.

    Args:
        score: (n,) numbers.
        positive: (n,) which are positive; NaN where there are none, or none else.
    """
    chosen = np.asarray(positive, bool)
    n, m = int(chosen.sum()), int((~chosen).sum())
    if not n or not m:
        return float("nan")
    return float((rankdata(np.asarray(score))[chosen].sum() - n * (n + 1) / 2) / (n * m))


def fewer_wins() -> pl.Expr:
    """Wins of the stage in which a neuron has fewer."""
    return pl.min_horizontal("wins_before", "wins_after")


def percent(share: float, digits: int = 1) -> str:
    """As text; a dash where there is nothing to divide by."""
    return "–" if np.isnan(share) else f"{share:.{digits}%}"


def number(value: float) -> str:
    """With three digits; a dash where there is none."""
    return "–" if np.isnan(value) else f"{value:.3f}"


def ratio(part: float, whole: float) -> float:
    """Part of the whole; NaN of nothing."""
    return part / whole if whole else float("nan")
