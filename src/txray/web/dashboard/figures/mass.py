"""Sorted activation mass per neuron, before and after, with the neurons that are picked out on the line."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import polars as pl

from txray.analysis.mass_inequality import half_mass
from txray.plots.axes import log_axis, whole_step
from txray.plots.frame import empty_figure
from txray.plots.text import count, escape_word, plural, sanitize
from txray.sampling import even_sample
from txray.web.dashboard.figures.figure_card import FigureCard
from txray.web.dashboard.figures.marks import hover_texts, sample
from txray.web.dashboard.filtered_comparison import FilteredComparison

BRUSH = ("", "mass_after")
"""Columns along the axes; ranks are none."""

_POINTS = 500
_PICKED = 1_000


def draw(filtered: FilteredComparison) -> FigureCard:
    """One line per stage, and a mark on the later one for each neuron that is picked out.

    Args:
        filtered: what is looked at.
    """
    rows = filtered.neurons
    figure = go.Figure()
    masses = {side: rows[f"mass_{side}"].to_numpy() for side in ("before", "after")}
    for side, stage in (("before", filtered.before), ("after", filtered.after)):
        mass, style = np.sort(masses[side][masses[side] > 0])[::-1], filtered.styles[stage.name]
        at = even_sample(len(mass), _POINTS)
        figure.add_scatter(
            name=f"{escape_word(stage.name)} ({count(len(mass))} neurons)",
            x=at + 1,
            y=mass[at],
            mode="lines+markers",
            line={"color": style.color, "width": 2},
            marker={"color": style.color, "symbol": style.symbol, "size": 9, "maxdisplayed": 14},
            hovertemplate="rank %{x:,d}: mass %{y:.3g}<extra></extra>",
            # A box drawn here is about mass, whatever points of the line lie in it.
            unselected={"marker": {"opacity": 1}},
        )
    if filtered.view.is_filtered:
        _mark(figure, filtered, masses["after"])
    every = np.concatenate(list(masses.values()))
    most = max(int((mass > 0).sum()) for mass in masses.values())
    figure.update_xaxes(
        title_text="neurons, by falling activation mass (rank)",
        range=[0.98 - 0.02 * most, 1.02 * most + 0.02],
        tick0=0,
        dtick=whole_step(most),
        tickformat=",d",
    )
    figure.update_yaxes(log_axis(every, "activation mass"))
    figure.update_layout(dragmode="select", selectdirection="v")
    if most == 0:
        empty_figure(figure, "No neuron has any activation mass.")
    halves = [half_mass(masses[side]) for side in ("before", "after")]
    return FigureCard(
        figure,
        f"Half of the activation mass is held by {plural(halves[0], 'neuron')} in {sanitize(filtered.before.name)}, "
        f"{count(halves[1])} in {sanitize(filtered.after.name)}",
        f"Where a line falls fast, few neurons win most words. A region picks neurons by their mass in "
        f"{sanitize(filtered.after.name)}.",
        rows.select("layer", "neuron", "mass_before", "mass_after", "wins_before", "wins_after"),
    )


def _mark(
    figure: go.Figure, filtered: FilteredComparison, mass: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> None:
    rank = np.empty(len(mass), np.int64)
    rank[np.argsort(-mass, kind="stable")] = np.arange(1, len(mass) + 1)
    there = filtered.neurons.with_columns(rank=pl.Series(rank)).filter(
        pl.col("picked") & (pl.col("mass_after") > 0)
    )
    drawn = sample(there, _PICKED)
    figure.add_scatter(
        name=f"picked out ({count(len(there))})",
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
