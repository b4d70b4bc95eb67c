"""How many features each shared neuron prefers before and after."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import polars as pl

from txray.analysis.significance.rarefaction import LengthChange
from txray.plots import theme
from txray.plots.axes import log_axis
from txray.plots.frame import empty_figure
from txray.plots.text import escape, format_number, percent, plural, sanitize
from txray.web.dashboard.figures.figure_card import FigureCard
from txray.web.dashboard.figures.marks import dim_unselected, hover_texts, sample
from txray.web.dashboard.filtered_comparison import FilteredComparison

BRUSH = ("length_before", "length_after")
"""Columns along the axes."""

_WAYS = ((-1, "fewer", theme.SHORTENED, "triangle-down"), (1, "more", theme.LENGTHENED, "triangle-up"))


def draw(filtered: FilteredComparison) -> FigureCard:
    """One mark per shared neuron: below the diagonal it has become more specialised.

    Args:
        filtered: what is looked at.
    """
    rows = filtered.shared
    change = (pl.col("length_after").cast(pl.Int64) - pl.col("length_before").cast(pl.Int64)).sign()
    numbers = dict(rows.select(way=change)["way"].value_counts().iter_rows())
    drawn = sample(rows)
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
    for sign, name, color, symbol in (*_WAYS, (0, "as many", theme.UNCHANGED, "circle")):
        mine = drawn.filter(change == sign)
        if not len(mine):
            continue
        figure.add_scatter(
            name=f"{name} ({numbers.get(sign, 0):,})",
            x=mine["length_before"].to_numpy(),
            y=mine["length_after"].to_numpy(),
            customdata=mine["place"].to_list(),
            mode="markers",
            marker={"color": color, "symbol": symbol, "size": 7, "opacity": 0.6},
            hovertext=hover_texts(
                filtered,
                mine,
                pl.format("{} → {} " + escape(filtered.noun) + "s", "length_before", "length_after"),
            ),
            hoverinfo="text",
            **dim_unselected(mine),
        )
    figure.update_xaxes(axes[0])
    figure.update_yaxes(axes[1])
    figure.update_layout(dragmode="select")
    if not len(rows):
        empty_figure(figure, "No neuron is preferred in both stages, so no length can shift.")
    return FigureCard(
        figure,
        _finding(filtered, rows),
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


def _finding(filtered: FilteredComparison, rows: pl.DataFrame) -> str:
    if not len(rows):
        return f"No neuron is shared by {sanitize(filtered.before.name)} and {sanitize(filtered.after.name)}"
    before, after = (float(rows[name].to_numpy().mean()) for name in BRUSH)
    change = after / before - 1
    way = f"{percent(abs(change))} {'more' if change > 0 else 'fewer'}" if change else "as many"
    finding = (
        f"{plural(len(rows), 'shared neuron')} on average prefer {way} {filtered.noun}s after "
        f"({format_number(before)} to {format_number(after)})"
    )
    if not filtered.tested:
        return finding
    equal = rows.select("rarefied_length_before", "rarefied_length_after").drop_nulls().to_numpy()
    return f"{finding}; {LengthChange.of(*equal.T).words(filtered.noun)}"
