"""Hellinger distance against Hellinger length, with the distance where nothing changed."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import polars as pl

from txray.analysis.findings import NOT_SIGNIFICANT, UNTESTED, is_significant, is_tested, state_label
from txray.analysis.shown_distance import PLAIN, ShownDistance
from txray.plots import theme
from txray.plots.axes import log_axis
from txray.plots.frame import empty_figure
from txray.plots.scatter import CHANGES, crowding, noise_line
from txray.plots.text import count, escape, plural, sanitize
from txray.web.dashboard.figures.figure_card import FigureCard
from txray.web.dashboard.figures.marks import dim_unselected, hover_texts, sample
from txray.web.dashboard.filtered_comparison import FilteredComparison

BRUSH = ("hellinger_length", "distance")
"""Columns along the axes."""


def draw(filtered: FilteredComparison) -> FigureCard:
    """One mark per shared neuron.

    Args:
        filtered: what is looked at.
    """
    distance = filtered.distance
    rows = distance.rows(filtered.shared)
    drawn = sample(rows)
    observed = ", observed" if filtered.observed else ""
    figure = go.Figure()
    length = drawn["hellinger_length"].to_numpy().astype(np.float64)
    faint = crowding(length, drawn["distance"].to_numpy())
    drawn = drawn.with_columns(
        opacity=pl.Series(faint, dtype=pl.Float64),
        group=group(filtered),
    )
    numbers = dict(rows.select(group(filtered))["group"].value_counts().iter_rows())
    untested = state_label(UNTESTED, tested=True, pending=filtered.pair.pending)
    looks = {untested: (theme.FAINT, "circle-open", 6), NOT_SIGNIFICANT: (theme.UNDECIDED, "circle", 5)} | {
        name: (color, symbol, 8) for name, (color, symbol) in CHANGES.items()
    }
    for name, (color, symbol, size) in looks.items():
        mine = drawn.filter(pl.col("group") == name)
        if not len(mine):
            continue
        told = f"{name} {escape(filtered.noun)}s after{observed}" if name in CHANGES else name
        figure.add_scatter(
            name=f"{told} ({count(numbers[name])})",
            x=mine["hellinger_length"].to_numpy(),
            y=mine["distance"].to_numpy(),
            customdata=mine["place"].to_list(),
            mode="markers",
            marker={"color": color, "symbol": symbol, "size": size, "opacity": mine["opacity"].to_numpy()},
            hovertext=hover_texts(
                filtered,
                mine,
                pl.format(
                    escape(PLAIN.name) + " {} over {} " + escape(filtered.noun) + "s",
                    pl.col("hellinger").round(3),
                    "hellinger_length",
                ),
                *tested_line(distance),
            ),
            hoverinfo="text",
            **dim_unselected(mine),
        )
    if distance.null is not None and len(rows):
        figure.add_scatter(**{**noise_line(rows, distance), "name": "if nothing had changed"})
    figure.update_xaxes(log_axis(length, f"Hellinger length ({filtered.noun}s)"))
    figure.update_yaxes(range=[-0.03, 1.03], dtick=0.2, title_text=distance.name)
    figure.update_layout(dragmode="select")
    if not len(rows):
        empty_figure(
            figure,
            "No neuron is preferred in both stages, so there is no distance. Pick the gained ones instead.",
        )
    return FigureCard(
        figure,
        _finding(filtered, rows),
        "0: the same preferences, 1: nothing in common. Distances at very different lengths are not comparable.",
        rows.drop("picked", "place"),
    )


def group(filtered: FilteredComparison) -> pl.Expr:
    """Return the group that each shared neuron is drawn in: which way it went, not significant, or not tested."""
    change = pl.col("length_after").cast(pl.Int64) - pl.col("length_before").cast(pl.Int64)
    way = (
        pl.when(change < 0)
        .then(pl.lit("fewer"))
        .when(change > 0)
        .then(pl.lit("more"))
        .otherwise(pl.lit("as many"))
    )
    if filtered.observed:
        return way.alias("group")
    untested = state_label(UNTESTED, tested=True, pending=filtered.pair.pending)
    significant = is_significant(filtered.store.config.fdr)
    tested = pl.when(significant).then(way).otherwise(pl.lit(NOT_SIGNIFICANT))
    return pl.when(is_tested()).then(tested).otherwise(pl.lit(untested)).alias("group")


def _finding(filtered: FilteredComparison, rows: pl.DataFrame) -> str:
    if not len(rows):
        return f"No neuron is shared by {sanitize(filtered.before.name)} and {sanitize(filtered.after.name)}"
    title = f"{plural(len(rows), 'shared neuron')}, {filtered.distance.medians(rows)}"
    return title if filtered.tested else f"{title} ({filtered.findings.progress})"


def tested_line(distance: ShownDistance) -> list[pl.Expr]:
    """Return the hover line of the tested distance, beside its own reference; none where nothing was tested."""
    if distance.null is None:
        return []
    line = escape(distance.name) + " {}, {} if nothing had changed; q-value {}"
    return [
        pl.format(
            line, pl.col(distance.column).round(3), pl.col(distance.null).round(3), pl.col("q_value").round(4)
        )
    ]
