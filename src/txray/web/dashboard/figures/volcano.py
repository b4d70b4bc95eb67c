"""How far neurons moved against how certain that is."""

from __future__ import annotations

from functools import partial

import polars as pl

from txray.analysis.shown_distance import CORRECTED
from txray.plots.frame import empty_figure
from txray.plots.marks import changes_so_far
from txray.plots.volcano import NO_TESTED_NEURON, X, Y, drawable, traces
from txray.web.dashboard.figures.figure_card import FigureCard
from txray.web.dashboard.figures.marks import PANEL, hover_texts, label
from txray.web.dashboard.filtered_comparison import FilteredComparison

BRUSH = (X, Y)
"""Columns along the axes."""


def draw(filtered: FilteredComparison) -> FigureCard:
    """Draw one mark per tested neuron, and label those that stand out."""
    rows = drawable(filtered.neurons)
    q_value = pl.format("q-value {}", pl.col("q_value").round(4))
    figure = traces(
        rows,
        fdr=filtered.store.config.fdr,
        hover=lambda drawn: hover_texts(filtered, drawn, _corrected_line(), q_value),
        label=partial(label, filtered),
        canvas=PANEL,
    )
    figure.update_layout(dragmode="select")
    if not len(rows):
        empty_figure(figure, _reason(filtered))
    finding = changes_so_far(filtered.findings)
    return FigureCard(
        figure,
        f"{finding[0].upper()}{finding[1:]}",
        "Further right: larger change. Higher: more certain. Labels: most distinctive words after.",
        rows.drop("picked", "place"),
    )


def _corrected_line() -> pl.Expr:
    """Return the hover line of the corrected distance and its interval."""
    value, low, high = (pl.col(f"{X}{end}").round(2) for end in ("", "_low", "_high"))
    interval = pl.format(f"{CORRECTED} {{}}, 95% interval {{}} to {{}}", value, low, high)
    return pl.when(low.is_null()).then(pl.format(f"{CORRECTED} {{}}", value)).otherwise(interval)


def _reason(filtered: FilteredComparison) -> str:
    """Return why there is nothing to draw."""
    if filtered.pair.problem:
        return filtered.pair.problem
    if not filtered.store.config.permutations:
        return "Observed, not tested (--permutations 0); serve again with tests to see what is significant."
    return NO_TESTED_NEURON if filtered.tested else "Testing … significance appears here layer by layer."
