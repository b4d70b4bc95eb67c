"""Marks of neurons: how many a plotting area holds, and how those that are not picked fade."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
import polars as pl
from numpy.typing import NDArray

from txray.analysis import Findings
from txray.plots import theme
from txray.sampling import even_sample

LENGTH_CHANGES: Mapping[str, tuple[str, str]] = {
    "fewer": (theme.SHORTENED, "triangle-down"),
    "more": (theme.LENGTHENED, "triangle-up"),
    "as many": (theme.UNCHANGED, "circle"),
}
"""How the number of features changed -> colour, marker."""
FAINT = 0.08
"""Opacity of neurons that are not picked."""
_MAX_SVG_MARKS = 2_500

HoverTexts = Callable[[pl.DataFrame], Sequence[str] | NDArray[np.object_]]
"""Makes the hover texts of rows, escaped."""
LabelText = Callable[[Mapping[str, Any]], str]
"""Makes the label of a row, as plain text."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """Plotting area of a figure of neurons, and how much it holds.

    Attributes:
        width, height: in pixels.
        max_marks: neurons drawn.
        max_labels: neurons named.
        label_width: of a name, in pixels.
        max_obstacles: marks that no label may cover; of more, the highest.
        ids: column that clicks report.
    """

    width: float = theme.PLOT_WIDTH
    height: float = theme.PLOT_HEIGHT
    max_marks: int = theme.MARKS
    max_labels: int = 24
    label_width: float = 190
    max_obstacles: int = theme.MARKS
    ids: str = "neuron"

    @property
    def compact(self) -> bool:
        """Return whether axis titles and legend entries must be short."""
        return self.width < 600


PAPER = Canvas()
"""The plotting area of figures of their own."""


def sample(rows: pl.DataFrame, max_rows: int) -> pl.DataFrame:
    """Return at most `max_rows` rows, evenly spread, in their order; those of a column `picked` first, if it exists."""
    if len(rows) <= max_rows:
        return rows
    picked = _picked(rows)
    inside, outside = np.flatnonzero(picked), np.flatnonzero(~picked)
    first = inside[even_sample(len(inside), max_rows if len(outside) == 0 else max_rows * 4 // 5)]
    room = min(len(outside), max_rows - len(first))
    rest = outside[even_sample(len(outside), room)] if room else outside[:0]
    return rows[np.sort(np.concatenate((first, rest)))]


def add_marks(
    figure: go.Figure,
    rows: pl.DataFrame,
    hover: NDArray[np.object_],
    *,
    name: str,
    x: str,
    y: str,
    marker: Mapping[str, Any],
    canvas: Canvas,
    webgl: bool = False,
) -> None:
    """Draw one mark per row, in place; rows that a column `picked` leaves out fade.

    Args:
        figure: to draw into.
        rows: of a table of neurons.
        hover: (n_rows,) hover texts, escaped.
        name: legend entry, escaped.
        x, y: columns along the axes.
        marker: plotly's description.
        canvas: to draw on.
        webgl: needed for thousands of marks; all traces of a figure alike, because those in WebGL lie below others.
    """
    draw = figure.add_scattergl if webgl else figure.add_scatter
    draw(
        name=name,
        x=rows[x].to_numpy(),
        y=rows[y].to_numpy(),
        # A list: Dash reads the entry of a mark out of it, and cannot out of a packed array.
        customdata=rows[canvas.ids].to_list(),
        mode="markers",
        marker=dict(marker),
        hovertext=hover,
        hoverinfo="text",
        **dim_unselected(rows),
    )


def needs_webgl(rows: pl.DataFrame) -> bool:
    """Return whether these are too many marks for SVG."""
    return len(rows) > _MAX_SVG_MARKS


def dim_unselected(rows: pl.DataFrame) -> dict[str, Any]:
    """Return what a trace needs so that rows that are not picked fade; nothing if there is no column `picked`."""
    if "picked" not in rows.columns:
        return {}
    picked = _picked(rows)
    return {
        "selectedpoints": None if picked.all() else np.flatnonzero(picked),
        "unselected": {"marker": {"opacity": FAINT}},
    }


def _picked(rows: pl.DataFrame) -> NDArray[np.bool_]:
    return rows["picked"].to_numpy() if "picked" in rows.columns else np.ones(len(rows), np.bool_)


def changes_so_far(findings: Findings, *, short: bool = False) -> str:
    """Return how many neurons changed and how far, and how much is tested if not everything is.

    Args:
        findings: of the neurons.
        short: whether to leave out how far all tested neurons moved.
    """
    changes = findings.changed_words if short else findings.changes
    if findings.finished or not findings.tested_layers:
        return changes
    return f"{changes}; {findings.progress}"
