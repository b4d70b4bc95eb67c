"""How far neurons moved against how sure that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
import polars as pl
from numpy.typing import NDArray

from txray.analysis.findings import NOT_SIGNIFICANT, is_significant, significant_label
from txray.analysis.shown_distance import CORRECTED, corrected_words
from txray.plots import theme
from txray.plots.features import distinctive
from txray.plots.frame import add_frame, caption_of, empty_figure
from txray.plots.labels import Box, Label, Side, place_labels
from txray.plots.scatter import hover_texts, require_tested
from txray.plots.text import count, escape, fitted, join_words, plural, sanitize
from txray.sampling import even_sample

if TYPE_CHECKING:
    from txray.analysis.comparison import Comparison

X = "hellinger_corrected"
"""Column along the x axis."""
DISTANCE_AXIS = f"{CORRECTED} (0 same, 1 disjoint)"
DISTANCE_SPAN = [-0.03, 1.03]
MOST_BARS = 60
"""Neurons among which the intervals of the named ones are drawn: among more they would hide marks."""

_LABELS = 24
_LABEL_FEATURES = 3
_LABEL_SIZE = 11
_LONGEST_LABEL = 190
"""Pixels."""
_RADIUS = 4.5
_HALO = ", ".join(f"{x}px {y}px 1px {theme.PAPER}" for x in (-1, 0, 1) for y in (-1, 0, 1))
"""Paper around the letters, so that no line behind strikes them through."""
_SIDES: tuple[Side, ...] = ("middle right", "middle left", "top center", "bottom center")


def volcano(comparison: Comparison) -> go.Figure:
    """Draw how far each neuron moved against how far beyond chance that is; colour tells which changed significantly.

    To the right is the corrected Hellinger distance; bars are its 95% intervals, of named neurons and where few neurons
    are drawn. Upwards
    are standard deviations of the permutations and not q-values: those of all neurons that clearly changed are the
    same, the smallest that the permutations can tell. The neurons that stand out most are named by what they
    prefer beyond its frequency in the later stage.

    Args:
        comparison: tested (`Comparison.test`).

    Raises:
        UsageError: nothing was tested.
    """
    require_tested(comparison, "volcano")
    fdr = float(comparison.summary["fdr"])
    able = pl.all_horizontal(pl.col("q_value", "z_score", X).is_not_null())
    neurons = comparison.neurons.filter(able)
    drawn = neurons[even_sample(len(neurons), theme.MARKS)]
    points = drawn[X].to_numpy(), drawn["z_score"].to_numpy()
    changed = drawn.select(significant=is_significant(fdr))["significant"].to_numpy()
    n_changed = neurons.filter(is_significant(fdr)).height
    told = hover_texts(comparison, drawn)
    spans = [DISTANCE_SPAN, span(points[1])]
    figure = go.Figure()
    for is_changed, name, color, size in (
        (False, NOT_SIGNIFICANT, theme.UNDECIDED, 5),
        (True, significant_label(fdr), theme.CHANGED, 2 * _RADIUS),
    ):
        at = np.flatnonzero(changed == is_changed)
        if len(at):
            number = n_changed if is_changed else len(neurons) - n_changed
            figure.add_scattergl(
                name=f"{name} ({count(number)})",
                x=points[0][at],
                y=points[1][at],
                customdata=drawn["neuron"].to_numpy()[at],
                mode="markers",
                marker={"color": color, "size": size, "opacity": 0.7},
                hovertext=[told[i] for i in at],
                hoverinfo="text",
            )
    if changed.any():
        figure.add_trace(_labels(comparison, drawn, changed, spans))
    figure.update_xaxes(range=spans[0], title_text=DISTANCE_AXIS, dtick=0.2)
    figure.update_yaxes(range=spans[1], title_text="z-score (standard deviations above the permutation mean)")
    for ends, axis in zip(spans, ("x", "y"), strict=True):
        if ends[0] < 0 < ends[1]:
            figure.update_layout({f"{axis}axis": {"zeroline": True, "zerolinecolor": theme.FAINT}})
    before, after = sanitize(comparison.before.stage), sanitize(comparison.after.stage)
    if not len(neurons):
        empty_figure(figure, "No neuron is preferred in both stages often enough to be tested.")
    untold = comparison.summary["tested"] - len(neurons)
    note = f"not drawn: {plural(untold, 'tested neuron')} of unknown distance" if untold else ""
    return add_frame(
        figure,
        title=f"From {before} to {after}, {comparison.findings.changes}; {CORRECTED} of the layer "
        f"{corrected_words(comparison.summary)}",
        subtitle="Each mark is a neuron; those that stand out are named by what they prefer beyond its frequency "
        f"in {after}"
        + (", with bars for 95% intervals" if changed.any() and len(drawn) <= MOST_BARS else ""),
        caption=caption_of(comparison, note),
    )


def interval_bars(rows: pl.DataFrame) -> dict[str, Any]:
    """Return horizontal error bars: the 95% intervals of the corrected distances of these neurons.

    Args:
        rows: of a comparison's table, none without a corrected distance.
    """
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


def span(values: NDArray[np.float64]) -> list[float]:
    """Ends of an axis that holds the values and 0, with some room."""
    low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
    room = max(0.05 * (high - low), 0.005)
    return [low - room, high + room]


def _labels(
    comparison: Comparison, drawn: pl.DataFrame, changed: NDArray[np.bool_], spans: list[list[float]]
) -> go.Scatter:
    """Names of the neurons that moved farthest or are surest, as many as find room."""
    points = np.stack((drawn[X].to_numpy(), drawn["z_score"].to_numpy()))
    low, high = np.array(spans).T
    pixels = (points.T - low) / (high - low)
    pixels = np.stack((pixels[:, 0] * theme.PLOT_WIDTH, (1 - pixels[:, 1]) * theme.PLOT_HEIGHT), axis=1)
    rank = np.minimum(*(np.argsort(np.argsort(-values)) for values in np.where(changed, points, -np.inf)))
    chosen = [i for i in np.argsort(rank, kind="stable").tolist() if changed[i]][:_LABELS]
    names = distinctive(comparison.after, _LABEL_FEATURES)
    # Above or below the intervals, where these are drawn.
    sides = _SIDES[2:] if len(drawn) <= MOST_BARS else _SIDES
    labels = [
        Label(_name(int(neuron), names[neuron]), float(pixels[i, 0]), float(pixels[i, 1]), sides)
        for i, neuron in zip(chosen, drawn["neuron"].to_numpy()[chosen], strict=True)
    ]
    placed = place_labels(
        labels,
        area=Box(0, 0, theme.PLOT_WIDTH, theme.PLOT_HEIGHT),
        size=_LABEL_SIZE,
        radius=_RADIUS,
        others=[(x, y) for i, (x, y) in enumerate(pixels.tolist()) if i not in chosen],
    )
    found = [(chosen[i], labels[i].text, side) for i, side in enumerate(placed) if side is not None]
    return go.Scatter(
        x=[float(points[0, i]) for i, _, _ in found],
        y=[float(points[1, i]) for i, _, _ in found],
        # Markers that are not seen keep the text away from those that are.
        mode="markers+text",
        marker={"size": 2 * _RADIUS, "opacity": 0},
        error_x=interval_bars(drawn[[i for i, _, _ in found]]) if len(drawn) <= MOST_BARS else None,
        text=[escape(text) for _, text, _ in found],
        textposition=[side for _, _, side in found],
        textfont={"size": _LABEL_SIZE, "color": theme.INK, "shadow": _HALO},
        showlegend=False,
        hoverinfo="skip",
    )


def _name(neuron: int, features: tuple[str, ...]) -> str:
    return fitted(f"{neuron}: {join_words(features)}", _LONGEST_LABEL, _LABEL_SIZE)
