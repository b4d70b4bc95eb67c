"""The drawing of one neuron: bars of POS probability per stage, tokens as labelled markers over their tag."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from txray.plots import theme
from txray.plots.axes import log_ticks
from txray.plots.labels import Box, Label, Side, place_labels
from txray.plots.neuron_data import Mark, Neuron, PanelCapacity, TagSlots, marks_of
from txray.plots.panels import Panel
from txray.plots.text import (
    count,
    escape,
    escape_word,
    fitted,
    format_number,
    hover_text,
    join_words,
    percent,
    plural,
    sanitize,
)
from txray.plots.theme import StageStyle

_HOVER_FEATURES = 10
_RADIUS = 4.0
_LABEL_SIZE = 11
_LONGEST_LABEL = 110
"""Pixels."""
_GROUP = 0.84
"""Share of a tag's place that its bars fill together."""
_LARGE = 150
"""Panels at least this high have room for whole axis titles."""


def draw_neuron(
    figure: go.Figure,
    neuron: Neuron,
    *,
    above: Panel,
    below: Panel,
    plot_height: float,
    axis: int,
    room: PanelCapacity,
    styles: Mapping[str, StageStyle],
    legend: Mapping[str, str] | None,
) -> None:
    """Draw one neuron into two panels of a figure, in place: tokens above, POS bars below, one x axis.

    Args:
        figure: to draw into.
        neuron: what it prefers, stage by stage.
        above, below: where; of the same left edge and width.
        plot_height: of the figure's plotting area, in pixels.
        axis: number of the first axis of the pair; the second is the next.
        room: how much to draw.
        styles: stage -> style.
        legend: stage -> legend entry; None where another panel has the entries.
    """
    places = TagSlots.of(neuron, room)
    n_stages = len(neuron.stages)
    bar = _GROUP / n_stages
    offsets = [bar * (number - (n_stages - 1) / 2) for number in range(n_stages)]
    marks = marks_of(neuron, room, places, offsets)
    lowest = max((mark.rank for mark in marks), default=1)
    labels = _labels(marks, above, n_places=len(places), lowest=lowest, n_stages=n_stages)
    highest_bar = 0.0
    first = "" if axis == 1 else str(axis)
    for number, stage in enumerate(neuron.stages):
        style = styles[stage]
        heights, texts = _bars(neuron, number, places)
        highest_bar = max(highest_bar, float(heights.max(initial=0.0)))
        figure.add_bar(
            legendgroup=escape_word(stage),
            showlegend=False,
            x=np.arange(len(heights)) + offsets[number],
            y=heights,
            width=bar * 0.94,
            marker={"color": style.color, "opacity": 0.85},
            hovertext=texts,
            hoverinfo="text",
            xaxis=f"x{first}",
            yaxis=f"y{axis + 1}",
        )
        marks_of_stage = [
            (mark, side) for mark, side in zip(marks, labels, strict=True) if mark.stage == number
        ]
        figure.add_scatter(
            name=None if legend is None else legend[stage],
            legendgroup=escape_word(stage),
            showlegend=legend is not None,
            # A stage without a marker still needs its entry in the legend.
            x=[mark.x for mark, _ in marks_of_stage] if marks_of_stage else [None],
            y=[mark.rank for mark, _ in marks_of_stage] if marks_of_stage else [None],
            mode="markers+text",
            marker={
                "color": style.color,
                "symbol": style.symbol,
                "size": 2 * _RADIUS,
                "line": {"color": theme.PAPER, "width": 0.5},
            },
            text=[escape(_label(mark.token)) if side else "" for mark, side in marks_of_stage],
            textposition=[side or "middle right" for _, side in marks_of_stage],
            textfont={"size": _LABEL_SIZE, "color": style.color},
            hovertext=[_token_hover_text(neuron, mark) for mark, _ in marks_of_stage],
            hoverinfo="text",
            cliponaxis=False,
            xaxis=f"x{first}",
            yaxis=f"y{first}",
        )
    _lay_axes(figure, axis, above, below, plot_height, places, lowest, highest_bar)


def _bars(neuron: Neuron, number: int, places: TagSlots) -> tuple[NDArray[np.float64], list[str]]:
    """Return heights and hover texts of a stage: one bar per drawn tag, one for the mean of all others."""
    side, tokens, stage = neuron.tags[number], neuron.tokens[number], neuron.stages[number]
    probability = dict(zip(side.feature, side.probability.tolist(), strict=True))
    mass = dict(zip(side.feature, (side.mass / side.mass.sum()).tolist(), strict=True))
    groups = [(tag,) for tag in places.tags] + ([places.others] if places.others else [])
    heights = [sum(probability.get(tag, 0.0) for tag in group) / len(group) for group in groups]
    texts = []
    for group, height in zip(groups, heights, strict=True):
        words = [token for token in tokens.feature if neuron.token_tags.get(token) in group]
        more = f" and {count(len(words) - _HOVER_FEATURES)} more" if len(words) > _HOVER_FEATURES else ""
        texts.append(
            hover_text(
                f"{_listed_tags(group)} in {sanitize(stage)}",
                f"POS probability {format_number(height)}" + (" on average" if len(group) > 1 else ""),
                f"{percent(sum(mass.get(tag, 0.0) for tag in group))} of the neuron's activation mass",
                f"tokens that mostly have this tag: {join_words(words[:_HOVER_FEATURES])}{more}"
                if words
                else "",
            )
        )
    return np.array(heights), texts


def _listed_tags(tags: Sequence[str], max_tags: int = 20) -> str:
    return (
        join_words(tags)
        if len(tags) <= max_tags
        else f"{join_words(tags[:max_tags])} and {count(len(tags) - max_tags)} more tags"
    )


def _rank_range(lowest: int) -> tuple[float, float]:
    """Return log10 of the ranks at the bottom and at the top of the axis: rank 1 is on top."""
    span = max(float(np.log10(lowest)), 0.3)
    return span + 0.09 * span, -0.09 * span


def _labels(
    marks: Sequence[Mark], above: Panel, *, n_places: int, lowest: int, n_stages: int
) -> list[Side | None]:
    per_place = above.width / max(n_places, 1)
    bottom, top = _rank_range(lowest)
    labels = [
        Label(
            _label(mark.token),
            (mark.x + 0.5) * per_place,
            above.height * (float(np.log10(mark.rank)) - top) / (bottom - top),
            _sides(mark.stage, n_stages),
        )
        for mark in marks
    ]
    return place_labels(labels, area=Box(0, 0, above.width, above.height), size=_LABEL_SIZE, radius=_RADIUS)


def _label(token: str) -> str:
    """Return a token beside its marker, as plain text; the hover text has more of it."""
    return fitted(sanitize(token), _LONGEST_LABEL, _LABEL_SIZE)


def _sides(stage: int, n_stages: int) -> tuple[Side, ...]:
    """Return the sides of a label, outwards first, so that labels of neighbouring stages do not compete for space."""
    if n_stages > 1 and stage == 0:
        return ("middle left", "top center", "bottom center", "middle right")
    return ("middle right", "top center", "bottom center", "middle left")


def _token_hover_text(neuron: Neuron, mark: Mark) -> str:
    tokens, index = neuron.tokens[mark.stage], mark.rank - 1
    tag = neuron.token_tags.get(mark.token)
    return hover_text(
        f"{sanitize(mark.token)} in {sanitize(neuron.stages[mark.stage])}",
        f"rank {count(mark.rank)} of {count(len(tokens))} tokens, "
        f"probability {format_number(tokens.probability[index])}",
        f"mean activation {format_number(tokens.mean[index])}, {plural(int(tokens.count[index]), 'win')}, "
        f"{percent(tokens.mass[index] / tokens.mass.sum())} of the neuron's activation mass",
        f"{format_number(tokens.lift[index])} times as strong as by its frequency in the text",
        "" if tag is None else f"mostly tagged {sanitize(tag)}",
    )


def _lay_axes(
    figure: go.Figure,
    axis: int,
    above: Panel,
    below: Panel,
    plot_height: float,
    places: TagSlots,
    lowest: int,
    highest_bar: float,
) -> None:
    first = "" if axis == 1 else str(axis)
    second = str(axis + 1)
    across, over = above.domains(plot_height)
    _, under = below.domains(plot_height)
    per_place = above.width / max(len(places), 1)
    is_large = above.height >= _LARGE
    bottom, top = _rank_range(lowest)
    figure.update_layout(
        {
            f"xaxis{first}": {
                "domain": across,
                "anchor": f"y{second}",
                "range": [-0.5, max(len(places), 1) - 0.5],
                "tickmode": "array",
                "tickvals": list(range(len(places))),
                "ticktext": places.ticks(per_place - 4),
                "tickangle": 0,
                "showgrid": False,
            },
            f"yaxis{first}": {
                "domain": over,
                "anchor": f"x{first}",
                "type": "log",
                "range": [bottom, top],
                **log_ticks(0.0, bottom),
                "title": {"text": "rank of token, log scale" if is_large else "rank"},
            },
            f"yaxis{second}": {
                "domain": under,
                "anchor": f"x{first}",
                "range": [0, 1.1 * highest_bar or 1],
                "nticks": 4 if is_large else 3,
                "title": {"text": "POS probability" if is_large else "POS"},
            },
        }
    )
