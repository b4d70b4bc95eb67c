"""Which distance of a comparison is shown to people, and the reference that was estimated in the same way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from txray.errors import UnknownNameError

if TYPE_CHECKING:
    from txray.analysis.comparison import Comparison

DistanceShown = Literal["matched", "plain"]
"""`matched`: at equal numbers of wins, beside its permutation mean. `plain`: of all wins, as in the paper."""

_SHOWN: tuple[DistanceShown, ...] = ("matched", "plain")
_NAMES: Mapping[str, str] = {
    "hellinger": "Hellinger distance",
    "jensen-shannon": "Jensen-Shannon divergence",
    "total-variation": "total variation distance",
}


@dataclass(frozen=True)
class ShownDistance:
    """A distance column with its name and its reference.

    Attributes:
        column: of `Comparison.neurons`.
        name: plain text, for titles, axes and hover texts; it names the estimator.
        null: column of the same distance where nothing changed; None where there is none.
    """

    column: str
    name: str
    null: str | None = None

    @property
    def axis(self) -> str:
        """Return the title of an axis from 0 to 1."""
        return f"{self.name} (0 same, 1 disjoint)"

    def rows(self, neurons: pl.DataFrame) -> pl.DataFrame:
        """Return the neurons that have this distance, and its reference where there is one."""
        known = [pl.col(name).is_not_null() for name in (self.column, self.null) if name]
        return neurons.filter(*known)

    def average(self, neurons: pl.DataFrame, kind: Literal["mean", "median"]) -> str:
        """Return the average distance in words, with that of the same neurons if nothing had changed."""
        rows, measure = self.rows(neurons), np.mean if kind == "mean" else np.median
        clause = f"{kind} {self.name} {measure(rows[self.column].to_numpy()):.2f}"
        if self.null is None:
            return clause
        return f"{clause}, {measure(rows[self.null].to_numpy()):.2f} if nothing had changed"


CORRECTED = "corrected Hellinger distance"
"""What `hellinger_corrected` is called: how far a neuron or a layer moved, without what small samples add."""


def corrected_words(row: Mapping[str, Any], name: str = "hellinger_corrected") -> str:
    """Return a corrected distance with its 95% interval, or that it is not known.

    Args:
        row: of a neuron, a step of a timeline, or a summary: the distance and, if computed, its bounds.
        name: of the distance in the row; `_low` and `_high` are appended for its bounds.
    """
    value, low, high = (row.get(f"{name}{end}") for end in ("", "_low", "_high"))
    if value is None:
        return "not known"
    if low is None or high is None:
        return f"{value:.2f}"
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def power_words(detectable: float | None, min_effect: float = 0.0) -> str:
    """Return which changes half of the neurons would have shown, in words.

    Args:
        detectable: corrected distance; None if not even a complete change would have been found.
        min_effect: distance that a change had to exceed.
    """
    if detectable is None:
        return "not even a complete change would have been found in half of the neurons"
    beyond = f" to be at least {min_effect:g}" if min_effect else ""
    return f"a change of {detectable:.2f} would have been found{beyond} in about half of the neurons"


def step_sizes(step: Mapping[str, Any]) -> tuple[str, str]:
    """Return the median distance of the changed neurons of a step of a timeline, and the one that would be found."""
    median, detectable = step.get("median_corrected_changed"), step.get("median_detectable")
    return (
        "-" if median is None else f"{median:.2f}",
        "nothing" if detectable is None else f"{detectable:.2f}",
    )


PLAIN = ShownDistance("hellinger", _NAMES["hellinger"])
"""The paper's distance, of all wins; biased upwards where neurons have few, so it stands alone."""


def matched_distance(distance: str) -> ShownDistance:
    """Return the tested distance, such as `hellinger`, at equal numbers of wins."""
    return ShownDistance("distance_matched", f"{_NAMES[distance]} at equal numbers of wins", "distance_null")


def shown_distance(comparison: Comparison, choice: DistanceShown = "matched") -> ShownDistance:
    """Return the distance to show; for an untested comparison always the plain one.

    Raises:
        UnknownNameError: neither `matched` nor `plain`.
    """
    if choice not in _SHOWN:
        raise UnknownNameError.of("distance of a figure", choice, _SHOWN)
    if choice == "plain" or not comparison.tested:
        return PLAIN
    return matched_distance(str(comparison.summary["distance"]))
