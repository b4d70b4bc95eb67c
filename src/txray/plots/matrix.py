"""A matrix of cells with names along both sides, as dark as its values are large."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from txray.plots import theme
from txray.plots.frame import add_frame, empty_figure
from txray.plots.text import LONGEST_WORD, escape, fitted, sanitize, text_width

_TALLEST, _SHORTEST = 56, 17
"""Pixels of a row; a line of text fits into the shortest."""
_LOWEST = 240
"""Pixels of all rows: the colour bar has numbers, and the axis a title."""
_BAR = 96
"""Pixels right of the cells for the colour bar and its numbers."""
_LONGEST_LABEL = 32
"""Characters of a name on an axis."""
_AXIS_TITLE = 26
_TICK = 8


@dataclass(frozen=True)
class Side:
    """Labels of one side of the matrix.

    Attributes:
        what: title of the axis, plain text.
        names: (n,) of the rows or columns.
    """

    what: str
    names: Sequence[str]


def matrix_figure(
    values: NDArray[np.float64],
    rows: Side,
    columns: Side,
    *,
    measure: str,
    hover: Callable[[int, int], str],
    title: str,
    subtitle: str,
    caption: str,
    empty: str,
    highest: float = 1.0,
) -> go.Figure:
    """Draw the matrix.

    Args:
        values: (n_rows, n_columns) NaN where there is no value.
        rows, columns: their labels.
        measure: what the values are, at the colour bar.
        hover: makes the hover text of the cell in a row and a column.
        title, subtitle, caption: see `add_frame`.
        empty: what to say where there is no value at all.
        highest: value of the darkest colour; the lightest is 0.
    """
    left_labels, labels = Labels(rows.names), Labels(columns.names)
    left = round(_AXIS_TITLE + left_labels.widest + 2 * _TICK)
    width = theme.WIDTH - left - theme.RIGHT - _BAR
    row_height = max(_SHORTEST, min(_TALLEST, theme.PLOT_HEIGHT // len(left_labels.shown)))
    height = max(_LOWEST, row_height * len(left_labels.shown))
    cell_width = width / len(labels.shown)
    upright = labels.widest <= cell_width - _TICK
    figure = go.Figure()
    figure.add_heatmap(
        z=values,
        zmin=0,
        zmax=highest,
        colorscale=theme.SEQUENTIAL,
        xgap=1,
        ygap=1,
        hovertext=[[hover(i, j) for j in range(values.shape[1])] for i in range(values.shape[0])],
        hoverinfo="text",
        colorbar={
            "title": {"text": escape(measure), "side": "right"},
            "thickness": 14,
            "outlinewidth": 0,
            "x": 1 - (_BAR - 18) / (width + _BAR),
            "xanchor": "left",
            "len": 1,
            "y": 0.5,
            **({"tickvals": [0, 0.2, 0.4, 0.6, 0.8, 1]} if highest == 1 else {}),
        },
    )
    if text_width("-0.00", theme.CAPTION_SIZE) + 4 <= cell_width and not np.isnan(values).all():
        figure.add_trace(_numbers(values, highest))
    figure.update_xaxes(
        **_axis(labels, columns.what, room=cell_width, per_label=0 if upright else _SHORTEST, length=width),
        range=[-0.5, len(labels.shown) - 0.5],
        domain=[0, width / (width + _BAR)],
        tickangle=0 if upright else -90,
    )
    figure.update_yaxes(
        **_axis(
            left_labels,
            rows.what,
            room=height / len(left_labels.shown),
            per_label=_SHORTEST,
            length=height,
        ),
        range=[-0.5, len(left_labels.shown) - 0.5],
    )
    if np.isnan(values).all():
        empty_figure(figure, empty)
    below = round(_TICK + (theme.SIZE * 1.3 if upright else labels.widest) + _TICK + _AXIS_TITLE)
    return add_frame(
        figure,
        title=title,
        subtitle=subtitle,
        caption=caption,
        plot_height=height,
        below=below,
        left=left,
    )


class Labels:
    """Names on an axis: parts that all have in common appear once, in the title of the axis.

    Attributes:
        shown: (n,) tick labels, plain text.
        pattern: what all names look like; empty where they have nothing in common.
        widest: pixels of the widest.
    """

    def __init__(self, names: Sequence[str]) -> None:
        """Shorten names of dotted parts."""
        parts = [name.split(".") for name in names]
        shortest = min(map(len, parts))
        head = tail = 0
        if len(set(names)) > 1:
            head = min(_in_common(parts), shortest - 1)
            tail = min(_in_common([part[::-1] for part in parts]), shortest - 1 - head)
        rest = [".".join(part[head : len(part) - tail]) for part in parts]
        self.pattern = (
            ".".join((*parts[0][:head], "*", *parts[0][len(parts[0]) - tail :])) if head + tail else ""
        )
        self.shown = [shortened(name, _LONGEST_LABEL) for name in rest]
        self.widest = max(text_width(name, theme.SIZE) for name in self.shown)


def _in_common(parts: Sequence[Sequence[str]]) -> int:
    """Return the number of leading parts that are the same in all."""
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*parts, strict=False)))


def shortened(name: str, longest: int = LONGEST_WORD) -> str:
    """Return a name as plain text, cut in the middle beyond `longest` characters: layers differ at both ends."""
    if len(name) > longest:
        name = f"{name[: longest // 2]}…{name[longest // 2 + 1 - longest :]}"
    return sanitize(name)


def _axis(labels: Labels, what: str, *, room: float, per_label: float, length: float) -> dict[str, Any]:
    """Return the names at the cells, as many as fit."""
    step = max(1, math.ceil(per_label / room))
    ticks = list(range(0, len(labels.shown), step))
    of = f" ({labels.pattern})" if labels.pattern else ""
    return {
        "tickvals": ticks,
        "ticktext": [escape(labels.shown[i]) for i in ticks],
        "showgrid": False,
        "title": {"text": escape(fitted(f"{what}{of}", length, theme.SUBTITLE_SIZE))},
    }


def _numbers(values: NDArray[np.float64], highest: float) -> go.Scatter:
    """Return annotations with the value of each cell."""
    row, column = (index.ravel() for index in np.indices(values.shape))
    flat = values.ravel()
    return go.Scatter(
        x=column,
        y=row,
        mode="text",
        text=["–" if np.isnan(value) else f"{value:.2f}" for value in flat],
        textfont={
            "size": theme.CAPTION_SIZE,
            "color": [theme.PAPER if value > 0.62 * highest else theme.INK for value in flat],
        },
        hoverinfo="skip",
        showlegend=False,
    )
