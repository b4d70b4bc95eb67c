"""One neuron over all stages: how much it prefers, how active it is, how far it moves."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import plotly.graph_objects as go
import polars as pl

from txray.analysis.shown_distance import PLAIN
from txray.plots import theme
from txray.plots.frame import feature_noun
from txray.plots.stage_lines import stage_axis, under_stages
from txray.plots.text import (
    count,
    escape,
    hover_text,
    join_words,
    percent,
    plural,
    sanitize,
)
from txray.web.dashboard.figures.figure_card import FigureCard
from txray.web.dashboard.neuron_selection import NeuronSelection, hellinger_of
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.url_state import UrlState

_WIDTH = 240
"""Pixels of the plotting area beside the figure of the neuron."""


def draw(view: UrlState, store: ResultStore) -> FigureCard:
    """Draw length, share of the mass, and change since the previous stage, stage by stage."""
    selection, noun = NeuronSelection.of(view, store), feature_noun(view.feature_type)
    styles = theme.stage_styles(store.catalog.names)
    sides = [
        selection.preferred(stage, selection.feature_type, store.config.weight) for stage in selection.stages
    ]
    distances = [None, *(hellinger_of(first, second) for first, second in pairwise(sides))]
    shares = []
    for stage, side in zip(selection.stages, sides, strict=True):
        mass = float(
            store.layer_table(stage, selection.feature_type, selection.layer)["mass"].to_numpy().sum()
        )
        shares.append(float(side.mass.sum()) / mass if mass else 0.0)
    names = [stage.name for stage in selection.stages]
    figure = go.Figure()
    rows: tuple[tuple[str, Sequence[float | None], list[str], str], ...] = (
        (f"{noun}s", [len(side) for side in sides], [f"{count(len(side))} {noun}s" for side in sides], ""),
        (
            "share of mass",
            [100 * share for share in shares],
            [f"{percent(s)} of the mass" for s in shares],
            "%",
        ),
        (
            "change since previous",
            distances,
            [
                "" if d is None else f"{PLAIN.name} {d:.3f} to the previous stage (of all wins, not tested)"
                for d in distances
            ],
            "",
        ),
    )
    positions = list(range(len(names)))
    for number, (title, values, texts, unit) in enumerate(rows, start=1):
        axis = "" if number == 1 else str(number)
        figure.add_scatter(
            x=positions,
            y=values,
            yaxis=f"y{axis}",
            mode="lines+markers",
            connectgaps=False,
            showlegend=False,
            line={"color": theme.FAINT, "width": 1.5},
            marker={
                "color": [styles[name].color for name in names],
                "symbol": [styles[name].symbol for name in names],
                "size": 10,
            },
            hovertext=[hover_text(sanitize(name), line) for name, line in zip(names, texts, strict=True)],
            hoverinfo="text",
        )
        top = max((value for value in values if value is not None), default=1) or 1
        figure.update_layout(
            {
                f"yaxis{axis}": {
                    "domain": [1 - number / 3 + 0.04, 1 - (number - 1) / 3 - 0.03],
                    "range": [-0.08 * top, 1.12 * top],
                    "title": {"text": escape(title)},
                    "ticksuffix": unit,
                    "nticks": 4,
                    "anchor": "x",
                }
            }
        )
    figure.update_xaxes(stage_axis(names, _WIDTH), anchor="y3")
    figure.update_layout(dragmode=False)
    below = under_stages(names, _WIDTH)
    used = [name for name, side in zip(names, sides, strict=True) if len(side)]
    return FigureCard(
        figure,
        f"Neuron {selection.neuron} is in use in {len(used)} of {plural(len(names), 'stage')}"
        + (f", first in {sanitize(used[0])}" if used else ""),
        f"{noun.capitalize() if noun.islower() else noun}s that it prefers, its share of the layer's activation mass, "
        "and the distance to the previous stage, of all its wins: few wins make it large by chance.",
        pl.DataFrame(
            {"stage": names, "length": rows[0][1], "mass_share": shares, "hellinger_to_previous": distances},
            strict=False,
        ),
        f"layer {sanitize(selection.layer)} · feature type {sanitize(selection.feature_type)} · "
        f"stages {join_words(names)}",
        left=84,
        below=below,
        height=390 + below,
    )
