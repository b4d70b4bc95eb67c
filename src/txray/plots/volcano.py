"""How far neurons moved against how certain that is."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
import polars as pl
from numpy.typing import NDArray

from txray.analysis.rules import SURE, is_displaced, is_significant
from txray.analysis.shown_distance import CORRECTED
from txray.analysis.states import DISPLACED, NOT_SIGNIFICANT
from txray.errors import UsageError
from txray.plots import theme
from txray.plots.features import labels
from txray.plots.frame import add_frame, caption_of, empty_figure
from txray.plots.hover import hover_texts
from txray.plots.labels import SIDES, Box, Label, place_labels
from txray.plots.marks import PAPER, Canvas, HoverTexts, LabelText, add_marks, needs_webgl, sample
from txray.plots.subjects import checked_subjects
from txray.plots.text import count, escape, fitted, join_words, plural, sanitize

if TYPE_CHECKING:
    from txray.analysis.comparison import Comparison

X, Y = "hellinger_corrected", "z_score"
"""Columns along the axes."""
NO_TESTED_NEURON = "No neuron is in use in both stages and active enough to be tested."

_DISTANCE_SPAN = [-0.03, 1.03]
_MAX_BARS = 60
"""Neurons among which the intervals of the labelled ones are drawn: among more they would hide marks."""
_LABEL_FEATURES = 3
_LABEL_SIZE = 11
_RADIUS = 4.5
_HALO = ", ".join(f"{x}px {y}px 1px {theme.PAPER}" for x in (-1, 0, 1) for y in (-1, 0, 1))
"""Paper around the letters, so that no line behind strikes them through."""


@checked_subjects
def volcano(comparison: Comparison) -> go.Figure:
    """Draw how far each neuron moved against how certain that is; significant neurons are coloured.

    The x axis is the corrected Hellinger distance; bars are the 95% intervals of labelled neurons, if few neurons are
    drawn. The y axis is the z-score of the permutation test, not the q-value: all neurons that clearly changed share
    the smallest q-value that the permutations allow. The darker the colour, the farther a significant neuron moved for
    sure (the lower bound of its interval); those that moved farthest for sure are labelled with their most distinctive
    words in the later stage.

    Args:
        comparison: tested (`Comparison.test`).

    Raises:
        UsageError: it is not tested.
    """
    if not comparison.tested:
        raise UsageError(
            f"volcano: comparison {comparison.before.stage!r} -> {comparison.after.stage!r} has not been tested; "
            "give a tested one: comparison.test(), or txray.compare with permutations"
        )
    neurons = drawable(comparison.neurons)
    names = labels(comparison.after, _LABEL_FEATURES)
    figure = traces(
        neurons,
        fdr=float(comparison.summary["fdr"]),
        hover=partial(hover_texts, comparison),
        label=lambda row: f"{row['neuron']}: {join_words(names[row['neuron']])}",
    )
    if not len(neurons):
        empty_figure(figure, NO_TESTED_NEURON)
    before, after = sanitize(comparison.before.stage), sanitize(comparison.after.stage)
    n_unknown = comparison.summary["tested"] - len(neurons)
    has_bars = any(trace.error_x.array is not None for trace in figure.data)
    return add_frame(
        figure,
        title=f"{before} → {after}: {comparison.findings.changes}",
        subtitle=f"Further right: larger change. Higher: more certain. Labels: most distinctive words in {after}"
        + ("; bars: 95% intervals" if has_bars else ""),
        caption=caption_of(
            comparison,
            f"not drawn: {plural(n_unknown, 'tested neuron')} of unknown distance" if n_unknown else "",
        ),
    )


def drawable(neurons: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of a comparison's table that were tested and whose corrected distance is known."""
    return neurons.filter(pl.all_horizontal(pl.col("q_value", X, Y).is_not_null()))


def traces(
    neurons: pl.DataFrame, *, fdr: float, hover: HoverTexts, label: LabelText, canvas: Canvas = PAPER
) -> go.Figure:
    """Draw marks, labels and axes, without a frame.

    Args:
        neurons: see `drawable`; with a column `picked`, only these are labelled, and the others fade.
        fdr: false discovery rate of the tests.
        hover: makes hover texts.
        label: makes labels.
        canvas: to draw on.
    """
    drawn = sample(neurons, canvas.max_marks)
    texts = np.asarray(hover(drawn), dtype=object)
    significant, webgl = _significant(drawn, fdr), needs_webgl(drawn)
    groups, counts = drawn.select(group=_group(fdr))["group"], neurons.select(group=_group(fdr))["group"]
    spans = [_DISTANCE_SPAN, _span(drawn[Y].to_numpy())]
    figure = go.Figure()
    for name, color, size in (
        (NOT_SIGNIFICANT, theme.UNDECIDED, 5),
        (DISPLACED, theme.DISPLACED, 2 * _RADIUS),
        *((_size_label(least), color, 2 * _RADIUS) for least, color in theme.CHANGED_BY.items()),
    ):
        rows, number = np.flatnonzero((groups == name).to_numpy()), int((counts == name).sum())
        if len(rows):
            add_marks(
                figure,
                drawn[rows],
                texts[rows],
                name=f"{name} ({count(number)})",
                x=X,
                y=Y,
                marker={"color": color, "size": size, "opacity": 0.7},
                canvas=canvas,
                webgl=webgl,
            )
    if "picked" in drawn.columns:
        significant &= drawn["picked"].to_numpy()
    if significant.any():
        figure.add_trace(_labels(drawn, significant, spans, label, canvas))
    of_what = "against permutations" if canvas.compact else "standard deviations above the permutation mean"
    figure.update_xaxes(range=spans[0], title_text=f"{CORRECTED} (0 same, 1 disjoint)", dtick=0.2)
    figure.update_yaxes(range=spans[1], title_text=f"z-score ({of_what})")
    for ends, axis in zip(spans, ("x", "y"), strict=True):
        if ends[0] < 0 < ends[1]:
            figure.update_layout({f"{axis}axis": {"zeroline": True, "zerolinecolor": theme.FAINT}})
    return figure


def _group(fdr: float) -> pl.Expr:
    """Return the name of each neuron's group in the legend."""
    name: pl.Expr = pl.when(is_displaced()).then(pl.lit(DISPLACED)).otherwise(pl.lit(NOT_SIGNIFICANT))
    for least in theme.CHANGED_BY:
        moved = pl.col(SURE).fill_null(0.0) >= least
        name = pl.when(is_significant(fdr) & moved).then(pl.lit(_size_label(least))).otherwise(name)
    return name


def _size_label(least: float) -> str:
    return f"moved at least {least:g}" if least else "significant, size uncertain"


def _significant(rows: pl.DataFrame, fdr: float) -> NDArray[np.bool_]:
    return rows.select(significant=is_significant(fdr))["significant"].to_numpy().copy()


def _span(values: NDArray[np.float64]) -> list[float]:
    """Return the ends of an axis that holds the values and 0, with some room."""
    low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
    room = max(0.05 * (high - low), 0.005)
    return [low - room, high + room]


def _labels(
    drawn: pl.DataFrame,
    candidates: NDArray[np.bool_],
    spans: list[list[float]],
    label: LabelText,
    canvas: Canvas,
) -> go.Scatter:
    """Return the labels of the neurons that moved farthest for sure, as many as fit."""
    points = drawn.select(X, Y).to_numpy()
    low, high = np.array(spans).T
    share = (points - low) / (high - low)
    pixels = np.stack((share[:, 0] * canvas.width, (1 - share[:, 1]) * canvas.height), axis=1)
    # The lower bound first, then the estimate.
    order = np.lexsort((-points[:, 0], -drawn[SURE].fill_null(0.0).to_numpy()))
    labelled = [i for i in order.tolist() if candidates[i]][: canvas.max_labels]
    taken = set(labelled)
    others = [i for i in np.argsort(-points[:, 1], kind="stable").tolist() if i not in taken]
    # In a panel, bars would take the room of labels.
    has_bars = len(drawn) <= _MAX_BARS and not canvas.compact
    labels = [
        Label(
            fitted(label(row), canvas.label_width, _LABEL_SIZE),
            x=float(pixels[i, 0]),
            y=float(pixels[i, 1]),
            # Above or below the intervals, where these are drawn.
            sides=SIDES[2:] if has_bars else SIDES,
        )
        for i, row in zip(labelled, drawn[labelled].iter_rows(named=True), strict=True)
    ]
    sides = place_labels(
        labels,
        area=Box(0, 0, canvas.width, canvas.height),
        size=_LABEL_SIZE,
        radius=_RADIUS,
        others=[(x, y) for x, y in pixels[others[: canvas.max_obstacles]].tolist()],
    )
    placed = [(i, text.text, side) for i, text, side in zip(labelled, labels, sides, strict=True) if side]
    rows = [i for i, _, _ in placed]
    return go.Scatter(
        x=points[rows, 0].tolist(),
        y=points[rows, 1].tolist(),
        # Invisible markers keep the text away from the visible ones.
        mode="markers+text",
        marker={"size": 2 * _RADIUS, "opacity": 0},
        error_x=_interval_bars(drawn[rows]) if has_bars else None,
        text=[escape(text) for _, text, _ in placed],
        textposition=[side for _, _, side in placed],
        textfont={"size": _LABEL_SIZE, "color": theme.INK, "shadow": _HALO},
        showlegend=False,
        hoverinfo="skip",
        meta="labels",
        unselected={"textfont": {"color": theme.INK}},
    )


def _interval_bars(rows: pl.DataFrame) -> dict[str, Any]:
    """Return horizontal error bars: the 95% intervals of the corrected distances of these neurons."""
    middle = rows[X].to_numpy()
    low, high = (
        rows[f"{X}_{end}"].fill_null(pl.Series(middle)).to_numpy() if len(rows) else middle
        for end in ("low", "high")
    )
    return {
        "type": "data",
        "symmetric": False,
        "array": high - middle,
        "arrayminus": middle - low,
        # So light that labels on them can be read.
        "color": "#F3C9A8",
        "thickness": 1,
        "width": 0,
    }
