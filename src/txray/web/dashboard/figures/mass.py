"""Sorted activation mass per neuron, before and after, with the picked neurons on the line."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import polars as pl
from numpy.typing import NDArray

from txray.plots.marks import sample
from txray.plots.mass import finding, traces
from txray.plots.text import count, sanitize
from txray.web.dashboard.figures.figure_card import FigureCard
from txray.web.dashboard.figures.marks import hover_texts
from txray.web.dashboard.filtered_comparison import FilteredComparison

BRUSH = ("", "mass_after")
"""Columns along the axes; ranks are none."""

_MAX_PICKED = 1_000


def draw(filtered: FilteredComparison) -> FigureCard:
    """Draw one line per stage, and a mark on the later one for each picked neuron."""
    rows, after = filtered.neurons, sanitize(filtered.after.name)
    masses = [
        (stage.name, rows[f"mass_{side}"].to_numpy())
        for side, stage in (("before", filtered.before), ("after", filtered.after))
    ]
    figure = traces(masses, styles=filtered.styles, compact=True)
    if filtered.view.is_filtered:
        _add_picked(figure, filtered, masses[1][1])
    figure.update_layout(dragmode="select", selectdirection="v")
    return FigureCard(
        figure,
        finding(masses),
        f"Where a line falls fast, few neurons win most words. A box selects neurons by their mass in {after}.",
        rows.select("layer", "neuron", "mass_before", "mass_after", "wins_before", "wins_after"),
    )


def _add_picked(figure: go.Figure, filtered: FilteredComparison, mass: NDArray[np.float64]) -> None:
    rank = np.empty(len(mass), np.int64)
    rank[np.argsort(-mass, kind="stable")] = np.arange(1, len(mass) + 1)
    picked = filtered.neurons.with_columns(rank=pl.Series(rank)).filter(
        pl.col("picked") & (pl.col("mass_after") > 0)
    )
    drawn = sample(picked, _MAX_PICKED)
    figure.add_scatter(
        name=f"selected ({count(len(picked))})",
        x=drawn["rank"].to_numpy(),
        y=drawn["mass_after"].to_numpy(),
        customdata=drawn["place"].to_list(),
        mode="markers",
        marker={
            "color": filtered.styles[filtered.after.name].color,
            "size": 8,
            "symbol": "line-ns-open",
            "opacity": 0.8,
            "line": {"width": 2},
        },
        hovertext=hover_texts(
            filtered, drawn, pl.format("rank {}, mass {}", "rank", pl.col("mass_after").round(1))
        ),
        hoverinfo="text",
    )
