"""How many features the neurons in use in both stages prefer before and after."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import polars as pl

from txray.analysis.significance.rarefaction import LengthChange
from txray.plots import theme
from txray.plots.axes import log_axis
from txray.plots.frame import empty_figure
from txray.plots.marks import LENGTH_CHANGES, add_marks, sample
from txray.plots.shift import NO_SHARED_NEURON, finding
from txray.plots.text import count, escape, sanitize
from txray.web.dashboard.figures.figure_card import FigureCard
from txray.web.dashboard.figures.marks import PANEL, hover_texts
from txray.web.dashboard.filtered_comparison import FilteredComparison

BRUSH = ("length_before", "length_after")
"""Columns along the axes."""


def draw(filtered: FilteredComparison) -> FigureCard:
    """Draw one mark per neuron in use in both stages: below the diagonal it has become more specialised."""
    rows = filtered.shared
    change = (pl.col("length_after").cast(pl.Int64) - pl.col("length_before").cast(pl.Int64)).sign()
    numbers = dict(rows.select(way=change)["way"].value_counts().iter_rows())
    drawn = sample(rows, PANEL.max_marks)
    figure = go.Figure()
    lengths = rows.select(BRUSH).to_numpy().astype(np.float64)
    axes = [
        log_axis(lengths.ravel(), f"{filtered.noun}s in {sanitize(stage.name)}")
        for stage in (filtered.before, filtered.after)
    ]
    ends = [10**end for end in axes[0]["range"]]
    figure.add_scatter(
        showlegend=False,
        x=ends,
        y=ends,
        mode="lines",
        line={"color": theme.FAINT, "dash": "dot", "width": 1.5},
        hoverinfo="skip",
    )
    lines = pl.format("{} → {} " + escape(filtered.noun) + "s", "length_before", "length_after")
    for sign, (name, (color, symbol)) in zip((-1, 1, 0), LENGTH_CHANGES.items(), strict=True):
        marks = drawn.filter(change == sign)
        if len(marks):
            add_marks(
                figure,
                marks,
                hover_texts(filtered, marks, lines),
                name=f"{name} ({count(numbers.get(sign, 0))})",
                x=BRUSH[0],
                y=BRUSH[1],
                marker={"color": color, "symbol": symbol, "size": 7, "opacity": 0.6},
                canvas=PANEL,
            )
    figure.update_xaxes(axes[0])
    figure.update_yaxes(axes[1])
    figure.update_layout(dragmode="select")
    if not len(rows):
        empty_figure(figure, NO_SHARED_NEURON)
    return FigureCard(
        figure,
        finding(
            (rows["length_before"].to_numpy(), rows["length_after"].to_numpy()),
            filtered.noun,
            (sanitize(filtered.before.name), sanitize(filtered.after.name)),
            _at_equal_wins(filtered, rows),
        ),
        "Below the dotted line: fewer features after. A neuron that wins fewer words has fewer features to show.",
        rows.select(
            "layer",
            "neuron",
            *BRUSH,
            "wins_before",
            "wins_after",
            "rarefied_length_before",
            "rarefied_length_after",
        ),
    )


def _at_equal_wins(filtered: FilteredComparison, rows: pl.DataFrame) -> LengthChange | None:
    if not filtered.tested or not len(rows):
        return None
    return LengthChange.of(
        *rows.select("rarefied_length_before", "rarefied_length_after").drop_nulls().to_numpy().T
    )
