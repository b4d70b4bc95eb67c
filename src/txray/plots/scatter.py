"""Hellinger distance against Hellinger length, of neurons in use in both stages."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
import polars as pl
from numpy.typing import NDArray

from txray.analysis import Findings
from txray.analysis.rules import is_displaced, is_significant, is_tested
from txray.analysis.shown_distance import DistanceShown, ShownDistance, shown_distance
from txray.analysis.states import DISPLACED, NOT_SIGNIFICANT, NOT_TESTED
from txray.plots import theme
from txray.plots.axes import log_axis
from txray.plots.frame import add_frame, caption_of, empty_figure, feature_noun
from txray.plots.hover import hover_texts
from txray.plots.marks import (
    LENGTH_CHANGES,
    PAPER,
    Canvas,
    HoverTexts,
    add_marks,
    changes_so_far,
    needs_webgl,
    sample,
)
from txray.plots.subjects import checked_subjects
from txray.plots.text import count, escape, plural, sanitize

if TYPE_CHECKING:
    from txray.analysis.comparison import Comparison

_NOISE_POINTS, _NOISE_NEURONS = 24, 8
"""Maximum number of points of the line of no change, and minimum number of neurons per point."""


@checked_subjects
def hellinger_length(comparison: Comparison, *, distance: DistanceShown = "matched") -> go.Figure:
    """Draw Hellinger length against distance, one mark per neuron that is in use in both stages.

    Use it to find neurons: distances at very different lengths are not comparable. If the comparison is tested, the
    distance at equal numbers of wins is drawn, with a line for the same distance if nothing had changed; neurons that
    are not significant are grey.

    Args:
        comparison: of two stages.
        distance: `matched`, or `plain` for the paper's distance of all wins, which has no such line; of an untested
            comparison it is always the plain one.

    Raises:
        UnknownNameError: no such distance.

    Source:
        Rethmeier et al. 2020, section 3 (Hellinger-length).
    """
    neurons, shown = comparison.neurons, shown_distance(comparison, distance)
    shared = shown.rows(neurons.filter(pl.col("state") == "shared"))
    before, after = sanitize(comparison.before.stage), sanitize(comparison.after.stage)
    figure = traces(
        shared,
        shown,
        fdr=comparison.fdr,
        noun=feature_noun(comparison.before.feature_type),
        after=f"in {after}",
        hover=partial(hover_texts, comparison),
    )
    if not len(shared):
        empty_figure(
            figure, f"No neuron is in use in both stages, so there is no distance; {_others(comparison)}."
        )
    drawn = min(len(shared), PAPER.max_marks)
    return add_frame(
        figure,
        title=finding(shared, len(neurons), shown, comparison.findings, (before, after)),
        subtitle="Each mark is a neuron in use in both stages: how many features it prefers, and how far these moved",
        caption=caption_of(
            comparison,
            "" if drawn == len(shared) else f"an even sample of {count(drawn)} neurons is drawn",
        ),
    )


def _others(comparison: Comparison) -> str:
    counts = comparison.summary
    return (
        f"{count(counts['avoided'])} are in use only before, {count(counts['gained'])} only after, "
        f"{count(counts['unpreferred'])} in neither"
    )


def finding(
    shared: pl.DataFrame,
    n_neurons: int,
    distance: ShownDistance,
    findings: Findings,
    stages: tuple[str, str],
) -> str:
    """Return how many neurons are in use in both stages, how far they moved, and how many of them significantly.

    `shared` are the neurons that have the distance; `stages` are sanitized.
    """
    before, after = stages
    if not len(shared):
        return f"No neuron is in use in both {before} and {after}"
    verb = "is" if n_neurons == 1 else "are"
    return (
        f"{count(len(shared))} of {plural(n_neurons, 'neuron')} {verb} in use in both {before} and {after}: "
        f"{distance.average(shared, 'median')}; {changes_so_far(findings, short=True)}"
    )


def traces(
    shared: pl.DataFrame,
    distance: ShownDistance,
    *,
    fdr: float | None,
    noun: str,
    after: str,
    hover: HoverTexts,
    untested: str = NOT_TESTED,
    canvas: Canvas = PAPER,
) -> go.Figure:
    """Draw marks, the line of no change, and axes, without a frame.

    Args:
        shared: neurons in use in both stages that have the distance; with a column `picked`, the others fade.
        distance: along the y axis.
        fdr: false discovery rate of the tests; None if nothing is tested.
        noun: what one feature is called, plain text.
        after: where neurons have fewer or more features, plain text: `in sup`.
        hover: makes hover texts.
        untested: what neurons are called whose tests are not done.
        canvas: to draw on.
    """
    shared = shared.with_columns(group=_group(fdr, untested))
    numbers = dict(shared["group"].value_counts().iter_rows())
    drawn = sample(shared, canvas.max_marks)
    texts, groups = np.asarray(hover(drawn), dtype=object), drawn["group"].to_numpy()
    length = drawn["hellinger_length"].to_numpy().astype(np.float64)
    opacity, webgl = crowding(length, drawn[distance.column].to_numpy()), needs_webgl(drawn)
    observed = ", observed" if fdr is None else ""
    figure = go.Figure()
    # Grey ones first, so that they lie below the others.
    for group, (name, color, symbol, size) in {
        untested: (untested, theme.FAINT, "circle-open", 6),
        NOT_SIGNIFICANT: (NOT_SIGNIFICANT, theme.UNDECIDED, "circle", 5),
        DISPLACED: (DISPLACED, theme.DISPLACED, "circle", 6),
        **{way: (f"{way} {noun}s {after}{observed}", *style, 8) for way, style in LENGTH_CHANGES.items()},
    }.items():
        rows = np.flatnonzero(groups == group)
        if len(rows):
            add_marks(
                figure,
                drawn[rows],
                texts[rows],
                name=escape(f"{name} ({count(numbers[group])})"),
                x="hellinger_length",
                y=distance.column,
                marker={"color": color, "symbol": symbol, "size": size, "opacity": opacity[rows]},
                canvas=canvas,
                webgl=webgl,
            )
    if distance.null is not None and len(shared):
        figure.add_scatter(**_line_of_no_change(shared, distance, canvas))
    which = "" if canvas.compact else " preferred in either stage"
    figure.update_xaxes(log_axis(length, f"Hellinger length ({noun}s{which})"))
    title = distance.name if canvas.compact else distance.axis
    figure.update_yaxes(range=[-0.03, 1.03], dtick=0.2, title_text=title)
    return figure


def _group(fdr: float | None, untested: str) -> pl.Expr:
    """Return the group of a neuron: which way its length changed, or that this is not significant or not tested."""
    change = pl.col("length_after").cast(pl.Int64) - pl.col("length_before").cast(pl.Int64)
    fewer_or_more = pl.when(change < 0).then(pl.lit("fewer")).when(change > 0).then(pl.lit("more"))
    way = fewer_or_more.otherwise(pl.lit("as many"))
    if fdr is None:
        return way
    group = pl.when(~is_tested()).then(pl.lit(untested)).when(is_significant(fdr)).then(way)
    group = group.when(is_displaced()).then(pl.lit(DISPLACED))
    return group.otherwise(pl.lit(NOT_SIGNIFICANT))


def crowding(length: NDArray[np.float64], distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (n,) opacity of each mark: the more marks share its spot on the screen, the fainter."""
    if len(length) == 0:
        return np.zeros(0)
    columns = np.floor(np.log10(length) * 25).astype(np.int64)
    rows = np.floor(distance * 25).astype(np.int64)
    _, spot, size = np.unique(np.stack([columns, rows]), axis=1, return_inverse=True, return_counts=True)
    crowd = size[spot.ravel()]
    return np.asarray(np.clip(1.6 / np.sqrt(crowd), 0.15, 0.85))


def _line_of_no_change(shared: pl.DataFrame, distance: ShownDistance, canvas: Canvas) -> dict[str, Any]:
    """Return a trace of the distance if nothing had changed: medians over neurons of similar length."""
    assert distance.null is not None
    rows = distance.rows(shared).sort("hellinger_length", "neuron")
    parts = np.array_split(np.arange(len(rows)), min(_NOISE_POINTS, max(1, len(rows) // _NOISE_NEURONS)))
    length, null = (rows[name].to_numpy().astype(np.float64) for name in ("hellinger_length", distance.null))
    return {
        "name": "if nothing had changed" + ("" if canvas.compact else " (median at this length)"),
        "x": [float(np.median(length[part])) for part in parts if len(part)],
        "y": [float(np.median(null[part])) for part in parts if len(part)],
        "mode": "lines",
        "line": {"color": theme.INK, "width": 2, "dash": "dash"},
        "hoverinfo": "skip",
    }
