"""How long neurons remain themselves: their survival over the stages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from txray.plots import theme
from txray.plots.frame import add_frame, empty_figure
from txray.plots.subjects import checked_subjects
from txray.plots.text import count, escape, hover_text, percent, sanitize

if TYPE_CHECKING:
    from txray.analysis.matching.persistence import Persistence


@checked_subjects
def persistence(persistence: Persistence) -> go.Figure:
    """Draw the estimated share of the neurons that were themselves at all stages up to each one, with its interval.

    Beside it: the share that are themselves at this stage, whatever they were between, and by chance.

    Args:
        persistence: of a layer over stages.
    """
    table = persistence.stages
    names = [escape(name) for name in (persistence.first, *table["stage"])]
    ticks = np.arange(len(names))
    survival, low, high = (
        100 * np.r_[1.0, table[name].fill_null(table["survival"]).to_numpy()]
        for name in ("survival", "survival_low", "survival_high")
    )
    known = (table["neurons"] - table["too_few_wins"]).to_numpy()
    share = 100 * table["itself"].to_numpy() / np.where(known > 0, known, np.nan)
    color = theme.LINES[0][0]
    figure = go.Figure()
    figure.add_scatter(
        name="95% interval",
        x=np.r_[ticks, ticks[::-1]],
        y=np.r_[high, low[::-1]],
        fill="toself",
        fillcolor=color,
        opacity=0.15,
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
    )
    for name, x, y, line_color, dash in (
        ("themselves at all stages so far", ticks, survival, color, "solid"),
        ("themselves at this stage", ticks[1:], share, theme.LINES[1][0], "dash"),
        (
            "nearest to themselves by chance",
            ticks[1:],
            100 * table["chance"].cast(float).fill_null(np.nan).to_numpy(),
            theme.FAINT,
            "dot",
        ),
    ):
        figure.add_scatter(
            name=name,
            x=x,
            y=y,
            mode="lines+markers",
            line={"color": line_color, "dash": dash, "width": 2},
            marker={"color": line_color, "size": 7},
            hovertext=[
                hover_text(names[tick], f"{value:.1f}% {name}")
                for tick, value in zip(x.tolist(), y, strict=True)
            ],
            hoverinfo="text",
        )
    figure.add_hline(50, line={"color": theme.GRID, "width": 1})
    figure.update_xaxes(tickvals=ticks, ticktext=names, range=[-0.2, len(names) - 0.8])
    figure.update_yaxes(range=[-2, 103], ticksuffix="%", title_text="share of the neurons")
    if table["at_risk"][0] == 0:
        empty_figure(figure, f"No neuron has the {persistence.min_wins} wins that matching requires.")
    too_few = int(table["too_few_wins"][-1])
    neurons = int(table["neurons"][0])
    sentence = sanitize(persistence.sentence, 300)
    return add_frame(
        figure,
        title=sentence[:1].upper() + sentence[1:],
        subtitle="Neurons that are still nearest to what they were at the first stage, and more than by chance",
        caption=f"layer {sanitize(persistence.layer)} · {sanitize(persistence.feature_type)} · {count(neurons)} "
        f"neurons with at least {persistence.min_wins} wins at {sanitize(persistence.first)}, {count(too_few)} of them "
        f"({percent(too_few / neurons if neurons else 0.0)}) with fewer at the last stage",
    )
