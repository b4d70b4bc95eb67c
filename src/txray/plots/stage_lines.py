"""Lines over stages, which are equally spaced along the x axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from txray.plots import theme
from txray.plots.matrix import shortened
from txray.plots.text import escape, format_number, hover_text, sanitize, text_width

_LONGEST_TICK = 24
"""Characters; longer names are cut in the middle under the axis; hover texts have them in full."""


@dataclass(frozen=True)
class Series:
    """One quantity over stages.

    Attributes:
        name: plain text, in the legend and on hover.
        values: (n_stages,) NaN if missing.
        color, symbol, dash: of line and markers.
        notes: (n_stages,) further lines of the hover text; none by default.
        interval: (n_stages,) twice, the bounds of an interval that is drawn as bars; NaN if missing.
    """

    name: str
    values: NDArray[np.float64]
    color: str
    symbol: str
    dash: str = "solid"
    notes: Sequence[str] = ()
    interval: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None


def add_series(
    figure: go.Figure, names: Sequence[str], series: Series, axis: str = "", *, in_legend: bool = True
) -> None:
    """Draw a line with markers over (n_stages,) names, in place; `axis` is empty for the first axes."""
    notes = series.notes or [""] * len(names)
    figure.add_scatter(
        name=escape(series.name),
        showlegend=in_legend,
        x=np.arange(len(names)),
        y=series.values,
        mode="lines+markers",
        connectgaps=False,
        line={"color": series.color, "width": 2, "dash": series.dash},
        marker={"color": series.color, "symbol": series.symbol, "size": 7},
        error_y=_bars(series),
        hovertext=[
            hover_text(f"{series.name}, {sanitize(name)}", format_number(value), note)
            for name, value, note in zip(names, series.values.tolist(), notes, strict=True)
        ],
        hoverinfo="text",
        # A marker on the edge of its panel is drawn whole.
        cliponaxis=False,
        xaxis=f"x{axis}",
        yaxis=f"y{axis}",
    )


def _bars(series: Series) -> dict[str, Any] | None:
    """Return vertical error bars; None for a series without an interval."""
    if series.interval is None:
        return None
    low, high = (np.where(np.isfinite(end), end, series.values) for end in series.interval)
    return {
        "type": "data",
        "symmetric": False,
        "array": high - series.values,
        "arrayminus": series.values - low,
        "color": series.color,
        "thickness": 1,
        "width": 3,
    }


def add_band(
    figure: go.Figure,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    name: str,
    axis: str = "",
    *,
    at: NDArray[np.float64] | None = None,
) -> None:
    """Draw the area between two (n,) lines, in place; NaN leaves a gap.

    `axis` is the number of the axes, empty for the first; `at` the positions on the x axis, by default the stages.
    """
    known = np.flatnonzero(np.isfinite(low) & np.isfinite(high))
    positions = known if at is None else at[known]
    figure.add_scatter(
        name=escape(name),
        x=np.concatenate((positions, positions[::-1])),
        y=np.concatenate((high[known], low[known][::-1])),
        fill="toself",
        fillcolor="rgba(120,120,120,0.18)",
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        xaxis=f"x{axis}",
        yaxis=f"y{axis}",
    )


def stage_axis(names: Sequence[str], width: float = theme.PLOT_WIDTH) -> dict[str, Any]:
    """Return the layout of the x axis: names of the stages, vertical if they do not fit into `width` pixels."""
    return {
        "range": [-0.4, len(names) - 0.6],
        "tickmode": "array",
        "tickvals": list(range(len(names))),
        "ticktext": [escape(name) for name in _ticks(names)],
        "tickangle": -90 if _upright(names, width) else 0,
        "showgrid": False,
    }


def under_stages(names: Sequence[str], width: float = theme.PLOT_WIDTH) -> int:
    """Return the pixels that the names need below the axis."""
    longest = max(text_width(name, theme.SIZE) for name in _ticks(names))
    return round(longest if _upright(names, width) else 1.3 * theme.SIZE) + 14


def _ticks(names: Sequence[str]) -> list[str]:
    return [shortened(name, _LONGEST_TICK) for name in names]


def _upright(names: Sequence[str], width: float) -> bool:
    return max(text_width(name, theme.SIZE) for name in _ticks(names)) > width / len(names) - 6
