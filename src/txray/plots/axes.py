"""Layouts of axes: logarithmic and linear ones, and the ticks of whole numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from txray.plots import theme
from txray.plots.text import escape


def log_axis(values: NDArray[np.float64], title: str) -> dict[str, Any]:
    """Return the layout of a logarithmic axis for values, of which only those above 0 count; `title` is plain text."""
    low, high = _log_span(values)
    return {
        "type": "log",
        "range": [low, high],
        **log_ticks(low, high),
        "title": {"text": escape(f"{title}, log scale")},
    }


def log_ticks(low: float, high: float) -> dict[str, Any]:
    """Return ticks at powers of ten, or at 1-2-5 if fewer than three would fit, and small ones between.

    `low` and `high` are the ends of the axis, as powers of ten.
    """
    decades = range(math.floor(low) - 1, math.ceil(high) + 1)

    def within(steps: Sequence[int]) -> list[float]:
        values = [step * 10.0**decade for decade in decades for step in steps]
        return [value for value in values if low <= math.log10(value) <= high]

    ticks = within((1,)) if len(within((1,))) > 2 else within((1, 2, 5))
    return {
        "tickmode": "array",
        "tickvals": ticks,
        "ticktext": [_tick(value) for value in ticks],
        "minor": {
            "tickmode": "array",
            "tickvals": within(range(2, 10)),
            "ticks": "outside",
            "ticklen": 2,
            "tickcolor": theme.FAINT,
        },
    }


def _log_span(values: NDArray[np.float64]) -> tuple[float, float]:
    positive = values[np.isfinite(values) & (values > 0)]
    if len(positive) == 0:
        return 0.0, 1.0
    low, high = math.log10(float(positive.min())), math.log10(float(positive.max()))
    room = max(0.04 * (high - low), 0.03)
    low, high = low - room, high + room
    # Wide enough for two ticks of 1-2-5, wherever it lies.
    spare = max(0.0, 0.72 - (high - low)) / 2
    return low - spare, high + spare


def _tick(value: float) -> str:
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{sign}"
    return f"{value:g}"


def linear_axis(values: NDArray[np.float64], title: str, *, unit: str = "") -> dict[str, Any]:
    """Return the layout of a linear axis that starts at 0, for values that are not negative.

    `title` is plain text; `unit` is put behind every tick, e.g. `%`.
    """
    finite = values[np.isfinite(values)]
    top = float(finite.max()) if len(finite) else 0.0
    return {
        "type": "linear",
        "range": [0, 1.06 * top if top > 0 else 1],
        "ticksuffix": unit,
        # Prefixes of units, such as 400µ, make no sense for a distance.
        "exponentformat": "B" if top >= 1 else "power",
        "rangemode": "tozero",
        "title": {"text": escape(title)},
    }


def whole_step(last: float) -> int:
    """Return the step of the ticks of an axis of whole numbers that ends at `last`: 1, 2, 5, 10, ..."""
    steps = (step * int(10**decade) for decade in itertools.count() for step in (1, 2, 5))
    return next(step for step in steps if last / step <= 12)
