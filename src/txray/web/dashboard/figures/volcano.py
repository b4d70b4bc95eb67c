"""How far neurons moved against how sure that is."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import polars as pl
from numpy.typing import NDArray

from txray.analysis.findings import NOT_SIGNIFICANT, is_significant, significant_label
from txray.analysis.shown_distance import CORRECTED
from txray.plots import theme
from txray.plots.frame import empty_figure
from txray.plots.labels import Box, Label, Side, place_labels
from txray.plots.text import count, escape, fitted
from txray.plots.volcano import DISTANCE_AXIS, DISTANCE_SPAN, span
from txray.web.dashboard.figures.figure_card import HEIGHT, NARROW, FigureCard
from txray.web.dashboard.figures.marks import dim_unselected, hover_texts, label, sample
from txray.web.dashboard.filtered_comparison import FilteredComparison

BRUSH = ("hellinger_corrected", "z_score")
"""Columns along the axes."""

_LABELS = 9
_SIZE, _LONGEST, _RADIUS = 11, 150, 4.5
_SIDES: tuple[Side, ...] = ("middle right", "middle left", "top center", "bottom center")


def draw(filtered: FilteredComparison) -> FigureCard:
    """One mark per tested neuron; those that stand out are named.

    Args:
        filtered: what is looked at.
    """
    fdr = filtered.store.config.fdr
    rows = filtered.neurons.filter(pl.all_horizontal(pl.col("q_value", *BRUSH).is_not_null()))
    drawn = sample(rows)
    figure = go.Figure()
    spans = [DISTANCE_SPAN, span(drawn[BRUSH[1]].to_numpy())]
    for sure, name, color, size in (
        (False, NOT_SIGNIFICANT, theme.UNDECIDED, 5),
        (True, significant_label(fdr), theme.CHANGED, 2 * _RADIUS),
    ):
        mine = drawn.filter(is_significant(fdr) == sure)
        if not len(mine):
            continue
        number = rows.filter(is_significant(fdr) == sure).height
        figure.add_scatter(
            name=f"{name} ({count(number)})",
            x=mine[BRUSH[0]].to_numpy(),
            y=mine[BRUSH[1]].to_numpy(),
            customdata=mine["place"].to_list(),
            mode="markers",
            marker={"color": color, "size": size, "opacity": 0.7},
            hovertext=hover_texts(
                filtered,
                mine,
                corrected_line(),
                pl.format("q-value {}", pl.col("q_value").round(4)),
            ),
            hoverinfo="text",
            **dim_unselected(mine),
        )
    changed = drawn.filter(is_significant(fdr) & pl.col("picked"))
    if len(changed):
        figure.add_trace(_labels(filtered, drawn, changed, spans))
    figure.update_xaxes(range=spans[0], title_text=DISTANCE_AXIS, dtick=0.2)
    figure.update_yaxes(range=spans[1], title_text="z-score (against permutations)")
    for each, axis in zip(spans, ("x", "y"), strict=True):
        if each[0] < 0 < each[1]:
            figure.update_layout({f"{axis}axis": {"zeroline": True, "zerolinecolor": theme.FAINT}})
    figure.update_layout(dragmode="select")
    if not len(rows):
        empty_figure(figure, _empty(filtered))
    return FigureCard(
        figure,
        _finding(filtered),
        "Further right: larger change. Higher: more certain. Labels: most distinctive words after.",
        rows.drop("picked", "place"),
    )


def corrected_line() -> pl.Expr:
    """Return the hover line of the corrected distance and its interval."""
    value, low, high = (pl.col(f"hellinger_corrected{end}").round(2) for end in ("", "_low", "_high"))
    return (
        pl.when(low.is_null())
        .then(pl.format(f"{CORRECTED} {{}}", value))
        .otherwise(pl.format(f"{CORRECTED} {{}}, 95% interval {{}} to {{}}", value, low, high))
    )


def _finding(filtered: FilteredComparison) -> str:
    findings = filtered.findings
    text = findings.changes if findings.tested_layers else findings.progress
    text = f"{text[0].upper()}{text[1:]}"
    return text if findings.finished or not findings.tested_layers else f"{text}; {findings.progress}"


def _empty(filtered: FilteredComparison) -> str:
    if filtered.pair.problem:
        return filtered.pair.problem
    if not filtered.store.config.permutations:
        return "Observed, not tested (--permutations 0); serve again with tests to see what is significant."
    if filtered.tested:
        return "No neuron is preferred in both stages often enough to be tested."
    return "Testing … significance appears here layer by layer."


def _labels(
    filtered: FilteredComparison, drawn: pl.DataFrame, changed: pl.DataFrame, spans: list[list[float]]
) -> go.Scatter:
    """Names of the neurons that moved farthest or are surest, as many as find room."""
    size = np.array([NARROW - 80, HEIGHT - 102])
    low, high = np.array(spans).T

    def pixels(rows: pl.DataFrame) -> NDArray[np.float64]:
        share = (rows.select(BRUSH).to_numpy() - low) / (high - low)
        return np.asarray(np.stack((share[:, 0], 1 - share[:, 1]), axis=1) * size)

    rank = pl.min_horizontal(*(pl.col(name).rank(descending=True) for name in BRUSH))
    chosen = changed.with_columns(rank=rank).sort("rank", "place").head(_LABELS)
    others = drawn.filter(~pl.col("place").is_in(chosen["place"].implode()))
    labels = [
        Label(fitted(label(filtered, row, "beyond_after"), _LONGEST, _SIZE), float(x), float(y), _SIDES)
        for row, (x, y) in zip(chosen.iter_rows(named=True), pixels(chosen), strict=True)
    ]
    placed = place_labels(
        labels,
        area=Box(0, 0, float(size[0]), float(size[1])),
        size=_SIZE,
        radius=_RADIUS,
        # Those that a label may not hide: of thousands, the loudest.
        others=[(float(x), float(y)) for x, y in pixels(others.sort("z_score", descending=True).head(400))],
    )
    found = [i for i, side in enumerate(placed) if side is not None]
    return go.Scatter(
        x=chosen[BRUSH[0]].gather(found).to_list(),
        y=chosen[BRUSH[1]].gather(found).to_list(),
        # Markers that are not seen keep the text away from those that are.
        mode="markers+text",
        marker={"size": 2 * _RADIUS, "opacity": 0},
        text=[escape(labels[i].text) for i in found],
        textposition=[placed[i] for i in found],
        textfont={"size": _SIZE, "color": theme.INK},
        showlegend=False,
        hoverinfo="skip",
        meta="labels",
        unselected={"textfont": {"color": theme.INK}},
    )
