"""Counterparts of neurons: how many there are, and how many by chance."""

from __future__ import annotations

import plotly.graph_objects as go

from txray.plots import theme
from txray.plots.frame import feature_noun
from txray.plots.matching import add_curve, finding
from txray.plots.text import sanitize
from txray.web.dashboard.figures.figure_card import FigureCard
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.results import FALSE_MATCH_RATE, MatchResult
from txray.web.dashboard.url_state import UrlState


def matched(view: UrlState, store: ResultStore) -> MatchResult:
    """Return the matching that a view names: its layer, or the first, of either stage.

    Raises:
        UnknownNameError: no such layer.
        JobPending: it is being made.
    """
    before, after = store.catalog[view.before], store.catalog[view.after]
    first = view.layer or next(iter(before.layers))
    second = view.layer_after or (first if first in after.layers else next(iter(after.layers)))
    return store.matching(before, after, first, second, view.feature_type)


def draw(view: UrlState, store: ResultStore) -> FigureCard:
    """Draw the share of the possible pairs within each distance, beside that of shuffled features."""
    match = matched(view, store)
    stages = sanitize(view.before), sanitize(view.after)
    figure = go.Figure()
    add_curve(
        figure, match.curve, match.share, name="pairs", color=theme.LINES[1][0], symbol=theme.LINES[1][1]
    )
    figure.update_layout(dragmode=False)
    return FigureCard(
        figure,
        finding(match.pairs, match.share, FALSE_MATCH_RATE, stages),
        f"Neurons are paired by the {feature_noun(view.feature_type)}s that they prefer; a pair matches if it is "
        f"closer than the best of all candidates by chance, with shuffled features (at most "
        f"{100 * FALSE_MATCH_RATE:g}% of the matches by chance). Marker: share that matches.",
        match.pairs,
        f"stages {', '.join(stages)} · feature type {sanitize(view.feature_type)}",
    )
