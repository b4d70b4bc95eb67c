"""How alike the layers of two models are, as a matrix of cells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from txray.errors import UnknownNameError
from txray.plots import theme
from txray.plots.frame import dress, say
from txray.plots.text import LONGEST_WORD, count, fitted, hover, markup, percent, plural, text_width, visible

if TYPE_CHECKING:
    from txray.transfer.layer_similarity import LayerSimilarity

_NAMES: Mapping[str, tuple[str, str]] = {
    "cka": ("CKA", "linear centred kernel alignment: whether words alike in one layer are so in the other"),
    "cka_debiased": ("debiased CKA", "centred kernel alignment from unbiased estimates"),
    "best_match_first": (
        "mean best |correlation|",
        "mean over the neurons of the row's layer of the largest |correlation| with one of the column's",
    ),
    "best_match_second": (
        "mean best |correlation|",
        "mean over the neurons of the column's layer of the largest |correlation| with one of the row's",
    ),
    "one_to_one": ("mean |correlation|", "mean |correlation| of neurons paired one to one"),
}
"""Measure -> what it is called, what it says."""

_TALLEST, _SHORTEST = 56, 17
"""Pixels of a row; a line of text fits into the shortest."""
_LOWEST = 240
"""Pixels of all rows: the colour bar has numbers, and the axis a title."""
_BAR = 96
"""Pixels right of the cells for the colour bar and its numbers."""
_LONGEST_LABEL = 32
"""Characters of a layer's name on an axis."""
_AXIS_TITLE = 26
_TICK = 8


def layer_similarity(similarity: LayerSimilarity, column: str = "cka") -> go.Figure:
    """Every layer of one model against every layer of the other, as dark as they are alike.

    Args:
        similarity: what `txray.layer_similarity` found.
        column: which measure: `cka`, `cka_debiased`, `best_match_first`, `best_match_second` or `one_to_one`.

    Raises:
        UnknownNameError: no such measure.

    Source:
        Kornblith et al. 2019, Similarity of neural network representations revisited, figure 2.
    """
    if column not in _NAMES:
        raise UnknownNameError.of("measure", column, _NAMES)
    values = similarity.matrix(column)
    measure, meaning = _NAMES[column]
    rows, columns = _Labels(similarity.layers_first), _Labels(similarity.layers_second)
    left = round(_AXIS_TITLE + rows.widest + 2 * _TICK)
    width = theme.WIDTH - left - theme.RIGHT - _BAR
    row_height = max(_SHORTEST, min(_TALLEST, theme.PLOT_HEIGHT // len(rows.shown)))
    height = max(_LOWEST, row_height * len(rows.shown))
    cell_width = width / len(columns.shown)
    upright = columns.widest <= cell_width - _TICK
    figure = go.Figure()
    figure.add_heatmap(
        z=values,
        zmin=0,
        zmax=1,
        colorscale=[list(stop) for stop in theme.SEQUENTIAL],
        xgap=1,
        ygap=1,
        hovertext=_stories(similarity, values, measure),
        hoverinfo="text",
        colorbar={
            "title": {"text": markup(measure), "side": "right"},
            "thickness": 14,
            "outlinewidth": 0,
            "x": 1 - (_BAR - 18) / (width + _BAR),
            "xanchor": "left",
            "len": 1,
            "y": 0.5,
            "tickvals": [0, 0.2, 0.4, 0.6, 0.8, 1],
        },
    )
    if text_width("-0.00", theme.CAPTION_SIZE) + 4 <= cell_width and not np.isnan(values).all():
        figure.add_trace(_numbers(values))
    figure.update_xaxes(
        **_axis(
            columns, similarity.second, room=cell_width, per_label=0 if upright else _SHORTEST, length=width
        ),
        range=[-0.5, len(columns.shown) - 0.5],
        domain=[0, width / (width + _BAR)],
        tickangle=0 if upright else -90,
    )
    figure.update_yaxes(
        **_axis(rows, similarity.first, room=height / len(rows.shown), per_label=_SHORTEST, length=height),
        range=[-0.5, len(rows.shown) - 0.5],
    )
    if np.isnan(values).all():
        say(figure, f"There is no {measure} to draw: no neuron moves, or there are too few words.")
    below = round(_TICK + (theme.SIZE * 1.3 if upright else columns.widest) + _TICK + _AXIS_TITLE)
    return dress(
        figure,
        title=_finding(similarity, values, measure),
        subtitle=f"Each cell is a pair of layers: {meaning}",
        caption=_caption(similarity),
        plot_height=height,
        below=below,
        left=left,
    )


class _Labels:
    """Names of layers on an axis: what all have in common is said once, in the title of the axis.

    Attributes:
        shown: (n_layers,) what stands at each, plain text.
        pattern: what all names look like; empty where they have nothing in common.
        widest: pixels of the widest.
    """

    def __init__(self, layers: Sequence[str]) -> None:
        parts = [layer.split(".") for layer in layers]
        shortest = min(map(len, parts))
        head = tail = 0
        if len(set(layers)) > 1:
            while head < shortest - 1 and len({tuple(part[: head + 1]) for part in parts}) == 1:
                head += 1
            while (
                tail < shortest - 1 - head
                and len({tuple(part[len(part) - tail - 1 :]) for part in parts}) == 1
            ):
                tail += 1
        own = [".".join(part[head : len(part) - tail]) for part in parts]
        self.pattern = (
            ".".join((*parts[0][:head], "*", *parts[0][len(parts[0]) - tail :])) if head + tail else ""
        )
        self.shown = [_shortened(name, _LONGEST_LABEL) for name in own]
        self.widest = max(text_width(name, theme.SIZE) for name in self.shown)


def _shortened(name: str, longest: int = LONGEST_WORD) -> str:
    """A layer's name as plain text, cut in the middle: layers differ at both ends of their names."""
    if len(name) > longest:
        name = f"{name[: longest // 2]}…{name[longest // 2 + 1 - longest :]}"
    return visible(name)


def _axis(labels: _Labels, model: str, *, room: float, per_label: float, length: float) -> dict[str, Any]:
    """Names at the cells, as many as have room."""
    step = max(1, math.ceil(per_label / room))
    ticks = list(range(0, len(labels.shown), step))
    of = f" ({labels.pattern})" if labels.pattern else ""
    return {
        "tickvals": ticks,
        "ticktext": [markup(labels.shown[i]) for i in ticks],
        "showgrid": False,
        "title": {"text": markup(fitted(f"layer of {visible(model)}{of}", length, theme.SUBTITLE_SIZE))},
    }


def _numbers(values: NDArray[np.float64]) -> go.Scatter:
    """The value of each cell, written into it."""
    row, column = (index.ravel() for index in np.indices(values.shape))
    flat = values.ravel()
    return go.Scatter(
        x=column,
        y=row,
        mode="text",
        text=["–" if np.isnan(value) else f"{value:.2f}" for value in flat],
        textfont={
            "size": theme.CAPTION_SIZE,
            "color": [theme.PAPER if value > 0.62 else theme.INK for value in flat],
        },
        hoverinfo="skip",
        showlegend=False,
    )


def _pair(similarity: LayerSimilarity, i: int, j: int) -> str:
    """What layer i of the first model and layer j of the second are called."""
    first, second = similarity.layers_first[i], similarity.layers_second[j]
    return (
        f"{_shortened(first)} of {visible(similarity.first)} and "
        f"{_shortened(second)} of {visible(similarity.second)}"
    )


def _stories(similarity: LayerSimilarity, values: NDArray[np.float64], measure: str) -> list[list[str]]:
    still = [similarity.matrix(f"constant_{side}") for side in ("first", "second")]
    return [
        [
            hover(
                _pair(similarity, i, j),
                f"{measure}: {'no value' if np.isnan(value) else f'{value:.4f}'}",
                f"neurons that never move: {still[0][i, j]:.0f} and {still[1][i, j]:.0f}",
            )
            for j, value in enumerate(row)
        ]
        for i, row in enumerate(values)
    ]


def _finding(similarity: LayerSimilarity, values: NDArray[np.float64], measure: str) -> str:
    first, second = visible(similarity.first), visible(similarity.second)
    if np.isnan(values).all():
        return f"No {measure} of the layers of {first} and {second}: 0 of {plural(values.size, 'pair')} have a value"
    head = measure[0].upper() + measure[1:]
    same = first == second and similarity.layers_first == similarity.layers_second
    if same and values.size > 1:
        # Of a layer with itself there is nothing to find.
        others = np.where(np.eye(len(values), dtype=bool), np.nan, values)
        if not np.isnan(others).all():
            i, j = sorted(int(k) for k in np.unravel_index(np.nanargmin(others), others.shape))
            return (
                f"{head} between two layers of {first} goes down to {values[i, j]:.2f}, for "
                f"{_shortened(similarity.layers_first[i])} and {_shortened(similarity.layers_second[j])}"
            )
    i, j = (int(k) for k in np.unravel_index(np.nanargmax(values), values.shape))
    pair = _pair(similarity, i, j)
    if values.size == 1:
        return f"{pair} have a {measure} of {values[i, j]:.2f}"
    return f"{pair} are most alike: {measure} {values[i, j]:.2f}"


def _caption(similarity: LayerSimilarity) -> str:
    skipped = sum(similarity.skipped.values())
    told = [
        f"text {visible(similarity.corpus)}",
        f"{count(similarity.words)} words",
        f"{plural(len(similarity.layers_first), 'layer')} of {visible(similarity.first)}, "
        f"{plural(len(similarity.layers_second), 'layer')} of {visible(similarity.second)}",
    ]
    if skipped:
        told.append(f"{count(skipped)} words skipped ({percent(skipped / (skipped + similarity.words))})")
    return " · ".join(told)
