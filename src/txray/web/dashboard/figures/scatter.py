"""Hellinger distance against Hellinger length, with the distance if nothing had changed."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from txray.analysis.shown_distance import PLAIN
from txray.analysis.states import UNTESTED, state_label
from txray.plots.frame import empty_figure
from txray.plots.scatter import finding, traces
from txray.plots.text import escape, sanitize
from txray.web.dashboard.figures.figure_card import FigureCard
from txray.web.dashboard.figures.marks import PANEL, hover_texts
from txray.web.dashboard.filtered_comparison import FilteredComparison

BRUSH = ("hellinger_length", "distance")
"""Columns along the axes."""


def draw(filtered: FilteredComparison) -> FigureCard:
    """Draw one mark per neuron in use in both stages."""
    rows = filtered.distance.rows(filtered.shared)
    figure = traces(
        rows,
        filtered.distance,
        fdr=None if filtered.observed else filtered.store.config.fdr,
        noun=filtered.noun,
        after="after",
        hover=lambda drawn: _hover_texts(filtered, drawn),
        untested=state_label(UNTESTED, tested=True, pending=filtered.pair.pending),
        canvas=PANEL,
    )
    figure.update_layout(dragmode="select")
    if not len(rows):
        empty_figure(figure, "No neuron is in use in both stages, so there is no distance.")
    stages = sanitize(filtered.before.name), sanitize(filtered.after.name)
    return FigureCard(
        figure,
        finding(rows, len(filtered.neurons), filtered.distance, filtered.findings, stages),
        "0: the same preferences, 1: nothing in common. Distances at very different lengths are not comparable.",
        rows.drop("picked", "place"),
    )


def _hover_texts(filtered: FilteredComparison, drawn: pl.DataFrame) -> NDArray[np.object_]:
    plain = escape(PLAIN.name) + " {} over {} " + escape(filtered.noun) + "s"
    lines = [pl.format(plain, pl.col("hellinger").round(3), "hellinger_length")]
    distance = filtered.distance
    if distance.null is not None:
        tested = escape(distance.name) + " {}, {} if nothing had changed; q-value {}"
        values = (
            pl.col(distance.column).round(3),
            pl.col(distance.null).round(3),
            pl.col("q_value").round(4),
        )
        lines.append(pl.format(tested, *values))
    return hover_texts(filtered, drawn, *lines)
