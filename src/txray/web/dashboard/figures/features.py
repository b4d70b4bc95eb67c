"""One feature over all stages: how many neurons prefer it."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl

from txray.errors import UsageError
from txray.plots import theme
from txray.plots.frame import feature_noun
from txray.plots.stage_lines import stage_axis, under_stages
from txray.plots.text import count, hover_text, plural, sanitize
from txray.preferences import StageFolder
from txray.web.dashboard.figures.figure_card import FigureCard
from txray.web.dashboard.figures.marks import PANEL
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.url_state import UrlState

_LIFTED = 2.0
"""Lift from which a neuron counts as responding more often than the frequency predicts."""


def feature_index(view: UrlState, store: ResultStore) -> dict[StageFolder, pl.DataFrame]:
    """Return the neurons that prefer the view's feature, stage by stage; only of the view's layer, if it names one.

    Raises:
        UsageError: the view names no feature.
        JobPending: a stage is being read.
    """
    if not view.word:
        raise UsageError(
            f"Type a {feature_noun(view.feature_type)} above to see which neurons respond to it, and what became "
            "of them."
        )
    rows_of_stage = {}
    for stage in store.catalog:
        if view.feature_type in stage.feature_types:
            rows = store.feature_index(stage, view.feature_type, view.word)
            rows_of_stage[stage] = rows.filter(pl.col("layer") == view.layer) if view.layer else rows
    return rows_of_stage


def draw(view: UrlState, store: ResultStore) -> FigureCard:
    """Draw the neurons that prefer the feature, and those that do so much more often than its frequency predicts."""
    rows_of_stage = feature_index(view, store)
    styles = theme.stage_styles(store.catalog.names)
    names = [stage.name for stage in rows_of_stage]
    every = [len(rows) for rows in rows_of_stage.values()]
    lifted = [int((rows["lift"] >= _LIFTED).sum()) for rows in rows_of_stage.values()]
    figure = go.Figure()
    colors = [styles[name].color for name in names]
    for name, values, color, width in (
        ("respond to it", every, theme.UNDECIDED, 0.6),
        (f"at least {_LIFTED:g} times its frequency", lifted, colors, 0.36),
    ):
        figure.add_bar(
            name=name,
            x=list(range(len(names))),
            y=values,
            width=width,
            marker={"color": color},
            hovertext=[
                hover_text(sanitize(stage), f"{plural(value, 'neuron')} {name}")
                for stage, value in zip(names, values, strict=True)
            ],
            hoverinfo="text",
        )
    figure.update_layout(barmode="overlay", dragmode=False)
    figure.update_xaxes({**stage_axis(names, PANEL.width), "range": [-0.6, len(names) - 0.4]})
    figure.update_yaxes(title_text="neurons", rangemode="tozero")
    word, below = sanitize(view.word), under_stages(names, PANEL.width)
    ends = [0] if len(names) == 1 else [0, -1]
    sizes = [
        stage.n_neurons.get(view.layer, 0) if view.layer else sum(stage.n_neurons.values())
        for stage in rows_of_stage
    ]
    return FigureCard(
        figure,
        f"Neurons that respond to “{word}”: "
        + "; ".join(
            f"{count(every[end])} of {plural(sizes[end], 'neuron')} in {sanitize(names[end])}, "
            f"{count(lifted[end])} at least {_LIFTED:g} times as strongly as its frequency predicts"
            for end in ends
        ),
        "Wide bars: all neurons that respond to it. Narrow bars: those that respond to it much more often than its "
        "frequency predicts.",
        pl.DataFrame({"stage": names, "neurons": every, "beyond_frequency": lifted}),
        f"feature type {sanitize(view.feature_type)} · "
        f"{f'layer {sanitize(view.layer)}' if view.layer else 'all layers'}",
        below=below,
        height=264 + below,
    )
