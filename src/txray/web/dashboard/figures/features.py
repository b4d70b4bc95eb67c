"""One feature over all stages: how many neurons prefer it."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl

from txray.errors import UsageError
from txray.plots import theme
from txray.plots.frame import feature_noun
from txray.plots.text import count, escape, fitted, hover_text, plural, sanitize
from txray.preferences import StageFolder
from txray.web.dashboard.figures.figure_card import FigureCard
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.url_state import UrlState

_LIFTED = 2.0
"""Times as strongly as by frequency: what counts as more than often."""


def feature_index(view: UrlState, store: ResultStore) -> dict[StageFolder, pl.DataFrame]:
    """The neurons that prefer the view's feature, stage by stage; those of the view's layer only, if it names one.

    Raises:
        UsageError: the view names no feature.
        JobPending: a stage is being read.
    """
    if not view.word:
        raise UsageError(
            f"Type a {feature_noun(view.feature_type)} above to see which neurons prefer it, and where they went."
        )
    found = {}
    for stage in store.catalog:
        if view.feature_type in stage.feature_types:
            rows = store.feature_index(stage, view.feature_type, view.word)
            found[stage] = rows.filter(pl.col("layer") == view.layer) if view.layer else rows
    return found


def draw(view: UrlState, store: ResultStore) -> FigureCard:
    """Neurons that prefer the feature at all, and those that do so beyond its frequency.

    Args:
        view: that names a feature.
        store: for the stages.

    Raises:
        UsageError: the view names no feature.
        JobPending: a stage is being read.
    """
    found = feature_index(view, store)
    styles = theme.stage_styles(store.catalog.names)
    names = [stage.name for stage in found]
    every = [len(rows) for rows in found.values()]
    lifted = [int((rows["lift"] >= _LIFTED).sum()) for rows in found.values()]
    figure = go.Figure()
    own = [styles[each].color for each in names]
    for name, values, color, width in (
        ("prefer it", every, theme.UNDECIDED, 0.6),
        (f"at least {_LIFTED:g} times its frequency", lifted, own, 0.36),
    ):
        figure.add_bar(
            name=name,
            x=list(range(len(names))),
            y=values,
            width=width,
            marker={"color": color},
            hovertext=[
                hover_text(sanitize(each), f"{plural(value, 'neuron')} {name}")
                for each, value in zip(names, values, strict=True)
            ],
            hoverinfo="text",
        )
    figure.update_layout(barmode="overlay", dragmode=False)
    figure.update_xaxes(
        tickvals=list(range(len(names))),
        ticktext=[escape(fitted(sanitize(name), 110, theme.SIZE)) for name in names],
        tickangle=-45 if len(names) > 6 else 0,
        range=[-0.6, len(names) - 0.4],
        showgrid=False,
    )
    figure.update_yaxes(title_text="neurons", rangemode="tozero")
    word = sanitize(view.word)
    ends = [0] if len(names) == 1 else [0, -1]
    of = [
        stage.n_neurons.get(view.layer, 0) if view.layer else sum(stage.n_neurons.values()) for stage in found
    ]
    return FigureCard(
        figure,
        f"“{word}” is preferred "
        + ", ".join(
            f"by {count(every[end])} of {plural(of[end], 'neuron')} in {sanitize(names[end])}, "
            f"by {count(lifted[end])} at least {_LIFTED:g} times as strongly as its frequency predicts"
            for end in ends
        ),
        "Wide bars: all neurons that responded to it. Narrow ones: those that respond to it beyond its frequency.",
        pl.DataFrame({"stage": names, "neurons": every, "beyond_frequency": lifted}),
        f"feature {sanitize(view.feature_type)} · {f'layer {sanitize(view.layer)}' if view.layer else 'all layers'}",
        below=80 if len(names) > 6 else 36,
        height=300,
    )
