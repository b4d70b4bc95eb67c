"""Hellinger distance against Hellinger length, with the distance where nothing changed."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import polars as pl

from txray.dashboard.figures.drawing import Drawing
from txray.dashboard.figures.marks import fading, sample, stories
from txray.dashboard.scene import Scene
from txray.plots import theme
from txray.plots.frame import log_axis, say
from txray.plots.scatter import CHANGES, crowding, noise_line
from txray.plots.text import count, markup, plural, visible
from txray.transfer.shown_distance import PLAIN, ShownDistance

BRUSH = ("hellinger_length", "distance")
"""Columns along the axes."""


def draw(scene: Scene) -> Drawing:
    """One mark per shared neuron.

    Args:
        scene: what is looked at.
    """
    distance = scene.distance
    rows = distance.rows(scene.shared)
    drawn = sample(rows)
    level = scene.desk.choices.level
    figure = go.Figure()
    length = drawn["hellinger_length"].to_numpy().astype(np.float64)
    faint = crowding(length, drawn["distance"].to_numpy())
    drawn = drawn.with_columns(
        opacity=pl.Series(faint, dtype=pl.Float64),
        group=group(level, tested=scene.tested),
    )
    numbers = dict(rows.select(group(level, tested=scene.tested))["group"].value_counts().iter_rows())
    looks = {"not significant": (theme.UNSURE, "circle", 5)} | {
        name: (color, symbol, 8) for name, (color, symbol) in CHANGES.items()
    }
    for name, (color, symbol, size) in looks.items():
        mine = drawn.filter(pl.col("group") == name)
        if not len(mine):
            continue
        told = name if name == "not significant" else f"{name} {markup(scene.noun)}s after"
        figure.add_scatter(
            name=f"{told} ({count(numbers[name])})",
            x=mine["hellinger_length"].to_numpy(),
            y=mine["distance"].to_numpy(),
            customdata=mine["place"].to_list(),
            mode="markers",
            marker={"color": color, "symbol": symbol, "size": size, "opacity": mine["opacity"].to_numpy()},
            hovertext=stories(
                scene,
                mine,
                pl.format(
                    markup(PLAIN.name) + " {} over {} " + markup(scene.noun) + "s",
                    pl.col("hellinger").round(3),
                    "hellinger_length",
                ),
                *tested_line(distance),
            ),
            hoverinfo="text",
            **fading(mine),
        )
    if distance.null is not None and len(rows):
        figure.add_scatter(**{**noise_line(rows, distance), "name": "if nothing had changed"})
    figure.update_xaxes(log_axis(length, f"Hellinger length ({scene.noun}s)"))
    figure.update_yaxes(range=[-0.03, 1.03], dtick=0.2, title_text=distance.name)
    figure.update_layout(dragmode="select")
    if not len(rows):
        say(
            figure,
            "No neuron is preferred in both stages, so there is no distance. Pick the gained ones instead.",
        )
    return Drawing(
        figure,
        _finding(scene, rows),
        "0: the same preferences, 1: nothing in common. Distances at very different lengths are not comparable.",
        rows.drop("picked", "place"),
    )


def group(level: float, *, tested: bool) -> pl.Expr:
    """Which way a neuron went, or that it may be chance."""
    change = pl.col("length_after").cast(pl.Int64) - pl.col("length_before").cast(pl.Int64)
    way = (
        pl.when(change < 0)
        .then(pl.lit("fewer"))
        .when(change > 0)
        .then(pl.lit("more"))
        .otherwise(pl.lit("as many"))
    )
    sure = (pl.col("q_value") <= level).fill_null(value=not tested)
    return pl.when(sure).then(way).otherwise(pl.lit("not significant")).alias("group")


def _finding(scene: Scene, rows: pl.DataFrame) -> str:
    if not len(rows):
        return f"No neuron is shared by {visible(scene.before.name)} and {visible(scene.after.name)}"
    return f"{plural(len(rows), 'shared neuron')}, {scene.distance.medians(rows)}"


def tested_line(distance: ShownDistance) -> list[pl.Expr]:
    """Return the hover line of the tested distance, beside its own reference; none where nothing was tested."""
    if distance.null is None:
        return []
    line = markup(distance.name) + " {}, {} if nothing had changed; q-value {}"
    return [
        pl.format(
            line, pl.col(distance.column).round(3), pl.col(distance.null).round(3), pl.col("q_value").round(4)
        )
    ]
