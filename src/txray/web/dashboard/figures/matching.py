"""How many neurons have a counterpart, and how many would by chance."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from txray.plots import theme
from txray.plots.frame import feature_noun
from txray.plots.text import count, percent, sanitize
from txray.web.dashboard.figures.figure_card import FigureCard
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.results import FALSE_MATCH_RATE, MatchResult
from txray.web.dashboard.url_state import UrlState


def matched(view: UrlState, store: ResultStore) -> MatchResult:
    """The matching that a view names: its layer, or the first, of either stage.

    Raises:
        UnknownNameError: no such layer.
        JobPending: it is being made.
    """
    before, after = store.catalog[view.before], store.catalog[view.after]
    first = view.layer or next(iter(before.layers))
    second = view.layer_after or (first if first in after.layers else next(iter(after.layers)))
    return store.matching(before, after, first, second, view.feature_type)


def draw(view: UrlState, store: ResultStore) -> FigureCard:
    """Share of the possible pairs within each distance, beside that of shuffled features.

    Args:
        view: that names two stages.
        store: for the matching.

    Raises:
        JobPending: it is being made.
    """
    match = matched(view, store)
    figure = go.Figure()
    for column, name, dash, width in (
        ("share", "pairs", "solid", 2.5),
        ("null_share", "by chance (features shuffled)", "dot", 2),
    ):
        figure.add_scatter(
            name=name,
            x=match.curve["distance"].to_numpy(),
            y=100 * match.curve[column].to_numpy(),
            mode="lines",
            line={"color": theme.LINES[1][0], "dash": dash, "width": width},
            hovertemplate="%{y:.0f}% within %{x:.2f}<extra></extra>",
        )
    at = float(np.interp(match.share, match.curve["share"], match.curve["distance"]))
    figure.add_scatter(
        name="match",
        x=[at],
        y=[100 * match.share],
        mode="markers",
        marker={"color": theme.CHANGED, "symbol": "diamond", "size": 11},
        hovertemplate=f"{percent(match.share)} of the pairs match<extra></extra>",
    )
    figure.update_xaxes(range=[0, 1.01], dtick=0.2, title_text="Hellinger distance within a pair")
    figure.update_yaxes(range=[0, 103], ticksuffix="%", title_text="share of the possible pairs")
    figure.update_layout(dragmode=False)
    number = int((match.pairs["state"] == "matched").sum())
    return FigureCard(
        figure,
        f"{count(number)} neurons of {sanitize(view.before)} have a counterpart in {sanitize(view.after)}: "
        f"{percent(match.share)} of the possible pairs, {100 * FALSE_MATCH_RATE:g}% by chance",
        f"Neurons are paired by the {feature_noun(view.feature_type)}s that they prefer; a match is nearer than "
        f"{100 * (1 - FALSE_MATCH_RATE):g}% of the pairs that chance makes.",
        match.pairs,
        f"stages {sanitize(view.before)}, {sanitize(view.after)} · feature {sanitize(view.feature_type)}",
    )
