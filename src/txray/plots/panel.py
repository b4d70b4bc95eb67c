"""The drawing of one neuron: bars of POS probability per stage, tokens as labelled markers over their tag."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from txray.errors import ShapeError
from txray.plots import theme
from txray.plots.features import Preferred, preferred
from txray.plots.frame import Panel, log_ticks
from txray.plots.labels import Box, Label, Side, place
from txray.plots.text import count, figure_of, fitted, hover, listed, markup, percent, shown, visible
from txray.plots.theme import StageStyle

if TYPE_CHECKING:
    from txray.preferences.preferences import Preferences, Weight

_HOVER_FEATURES = 10
_RADIUS = 4.0
_LABEL_SIZE = 11
_GROUP = 0.84
"""Share of a tag's place that its bars fill together."""
_LARGE = 150
"""Panels at least this high have room for whole axis titles."""


@dataclass(frozen=True)
class Neuron:
    """What one neuron prefers in each stage, ready to draw.

    Attributes:
        index: of the neuron in its layer.
        stages: names.
        tokens, tags: one entry per stage.
        token_tags: token -> tag.
    """

    index: int
    stages: tuple[str, ...]
    tokens: tuple[Preferred, ...]
    tags: tuple[Preferred, ...]
    token_tags: Mapping[str, str]

    @classmethod
    def of(
        cls,
        index: int,
        tokens: Sequence[Preferences],
        tags: Sequence[Preferences],
        token_tags: Mapping[str, str],
        weight: Weight,
    ) -> Neuron:
        """Look one neuron up in the preferences of several stages.

        Args:
            index: of the neuron.
            tokens, tags: preferences of kind token and of kind pos, stage by stage, aligned.
            token_tags: token -> tag.
            weight: what the distributions normalise.

        Raises:
            ShapeError: the two lists do not hold the same stages of the same layer.
        """
        check_aligned(tokens, tags)
        return cls(
            index,
            tuple(p.stage for p in tokens),
            tuple(preferred(p, index, weight) for p in tokens),
            tuple(preferred(p, index, weight) for p in tags),
            token_tags,
        )

    def tags_by_mass(self) -> list[str]:
        """All preferred tags, by falling share of the neuron's activation mass, averaged over stages.

        By mass and not by probability: under the weight `mean` a tag that was met once is as probable as
        one that was met a thousand times.
        """
        share: Counter[str] = Counter()
        for side in self.tags:
            for tag, mass in zip(side.feature, (side.mass / side.mass.sum()).tolist(), strict=True):
                share[tag] += mass
        return sorted(share, key=lambda tag: (-share[tag], tag))


def check_aligned(tokens: Sequence[Preferences], tags: Sequence[Preferences]) -> None:
    """Token and tag preferences must be of the same stages and neurons.

    Raises:
        ShapeError: they are not.
    """
    sides = [[(p.stage, p.layer, p.n_neurons) for p in side] for side in (tokens, tags)]
    if sides[0] != sides[1]:
        raise ShapeError(
            f"tokens are of (stage, layer, neurons) {sides[0]}, tags of {sides[1]}; give the same stages in "
            "the same order"
        )


@dataclass(frozen=True, slots=True)
class Room:
    """How much fits into a panel.

    Attributes:
        tags: drawn on their own; the rest is drawn together.
        strongest: tokens per stage that have a marker, wherever they stand.
        per_tag: tokens per stage and place that have a marker, however weak.
    """

    tags: int
    strongest: int
    per_tag: int


@dataclass(frozen=True)
class _Places:
    """The places along the x axis: one per drawn tag, one for all other preferred tags, one for the rest.

    Attributes:
        tags: drawn on their own.
        others: preferred tags that are drawn together.
        has_rest: whether there is a place for tokens whose usual tag the neuron never prefers.
    """

    tags: tuple[str, ...]
    others: tuple[str, ...]
    has_rest: bool

    @classmethod
    def of(cls, neuron: Neuron, room: Room) -> _Places:
        ranked = neuron.tags_by_mass()
        # A place of its own takes no more room than "1 other".
        drawn = ranked if len(ranked) <= room.tags + 1 else ranked[: room.tags]
        known = set(ranked)
        leading = [token for side in neuron.tokens for token in side.feature[: room.strongest]]
        has_rest = any(neuron.token_tags.get(token) not in known for token in leading)
        return cls(tuple(drawn), tuple(ranked[len(drawn) :]), has_rest)

    def __len__(self) -> int:
        return len(self.tags) + bool(self.others) + self.has_rest

    def of_tag(self, tag: str | None) -> int | None:
        """The place of tokens of a tag; None where there is none."""
        if tag in self.tags:
            return self.tags.index(tag)
        if tag in self.others:
            return len(self.tags)
        return len(self) - 1 if self.has_rest else None

    def ticks(self, width: float) -> list[str]:
        """What stands under each place, at most `width` pixels wide."""
        names = [markup(fitted(visible(tag), width, theme.SIZE)) for tag in self.tags]
        if self.others:
            names.append(f"{count(len(self.others))} others<br>(mean)")
        return [*names, "other<br>tag"] if self.has_rest else names


def draw_neuron(
    figure: go.Figure,
    neuron: Neuron,
    *,
    above: Panel,
    below: Panel,
    plot_height: float,
    axis: int,
    room: Room,
    look: Mapping[str, StageStyle],
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
        look: stage -> style.
        legend: stage -> legend entry; None where another panel has the entries.
    """
    places = _Places.of(neuron, room)
    n_stages = len(neuron.stages)
    bar = _GROUP / n_stages
    offsets = [bar * (number - (n_stages - 1) / 2) for number in range(n_stages)]
    marks = _marks(neuron, room, places, offsets)
    lowest = max((mark.rank for mark in marks), default=1)
    labels = _labels(marks, above, n_places=len(places), lowest=lowest, n_stages=n_stages)
    highest_bar = 0.0
    first = "" if axis == 1 else str(axis)
    for number, stage in enumerate(neuron.stages):
        style = look[stage]
        heights, stories = _bars(neuron, number, places)
        highest_bar = max(highest_bar, float(heights.max(initial=0.0)))
        figure.add_bar(
            legendgroup=shown(stage),
            showlegend=False,
            x=np.arange(len(heights)) + offsets[number],
            y=heights,
            width=bar * 0.94,
            marker={"color": style.color, "opacity": 0.85},
            hovertext=stories,
            hoverinfo="text",
            xaxis=f"x{first}",
            yaxis=f"y{axis + 1}",
        )
        mine = [(mark, side) for mark, side in zip(marks, labels, strict=True) if mark.stage == number]
        figure.add_scatter(
            name=None if legend is None else legend[stage],
            legendgroup=shown(stage),
            showlegend=legend is not None,
            # A stage without a marker still needs its entry in the legend.
            x=[mark.x for mark, _ in mine] if mine else [None],
            y=[mark.rank for mark, _ in mine] if mine else [None],
            mode="markers+text",
            marker={
                "color": style.color,
                "symbol": style.symbol,
                "size": 2 * _RADIUS,
                "line": {"color": theme.PAPER, "width": 0.5},
            },
            text=[shown(mark.token) if side else "" for mark, side in mine],
            textposition=[side or "middle right" for _, side in mine],
            textfont={"size": _LABEL_SIZE, "color": style.color},
            hovertext=[_token_story(neuron, mark) for mark, _ in mine],
            hoverinfo="text",
            cliponaxis=False,
            xaxis=f"x{first}",
            yaxis=f"y{first}",
        )
    _lay_axes(figure, axis, above, below, plot_height, places, lowest, highest_bar)


def _bars(neuron: Neuron, number: int, places: _Places) -> tuple[NDArray[np.float64], list[str]]:
    """Heights and hover texts of a stage: one bar per drawn tag, one for the mean of all others."""
    side, tokens, stage = neuron.tags[number], neuron.tokens[number], neuron.stages[number]
    probability = dict(zip(side.feature, side.probability.tolist(), strict=True))
    mass = dict(zip(side.feature, (side.mass / side.mass.sum()).tolist(), strict=True))
    groups = [(tag,) for tag in places.tags] + ([places.others] if places.others else [])
    heights = [sum(probability.get(tag, 0.0) for tag in group) / len(group) for group in groups]
    stories = []
    for group, height in zip(groups, heights, strict=True):
        words = [token for token in tokens.feature if neuron.token_tags.get(token) in group]
        more = f" and {count(len(words) - _HOVER_FEATURES)} more" if len(words) > _HOVER_FEATURES else ""
        stories.append(
            hover(
                f"{_listed_tags(group)} in {visible(stage)}",
                f"POS probability {figure_of(height)}" + (" on average" if len(group) > 1 else ""),
                f"{percent(sum(mass.get(tag, 0.0) for tag in group))} of the neuron's activation mass",
                f"tokens mostly of this kind: {listed(words[:_HOVER_FEATURES])}{more}" if words else "",
            )
        )
    return np.array(heights), stories


def _listed_tags(tags: Sequence[str], most: int = 20) -> str:
    return (
        listed(tags)
        if len(tags) <= most
        else f"{listed(tags[:most])} and {count(len(tags) - most)} more tags"
    )


@dataclass(frozen=True, slots=True)
class _Mark:
    """A token's marker: its rank in its stage from 1, its order among the tokens of its stage and place."""

    stage: int
    rank: int
    order: int
    x: float
    token: str


def _marks(neuron: Neuron, room: Room, places: _Places, offsets: Sequence[float]) -> list[_Mark]:
    """Markers of all stages, the most important first: the strongest of every place before any second."""
    marks = []
    for number, tokens in enumerate(neuron.tokens):
        seen: Counter[int] = Counter()
        for rank, token in enumerate(tokens.feature, start=1):
            at = places.of_tag(neuron.token_tags.get(token))
            if at is None:
                continue
            if rank <= room.strongest or seen[at] < room.per_tag:
                marks.append(_Mark(number, rank, seen[at], at + offsets[number], token))
            seen[at] += 1
    return sorted(marks, key=lambda mark: (mark.order, mark.rank, mark.stage))


def _rank_range(lowest: int) -> tuple[float, float]:
    """log10 of the ranks at the bottom and at the top of the axis: rank 1 is on top."""
    span = max(float(np.log10(lowest)), 0.3)
    return span + 0.09 * span, -0.09 * span


def _labels(
    marks: Sequence[_Mark], above: Panel, *, n_places: int, lowest: int, n_stages: int
) -> list[Side | None]:
    per_place = above.width / max(n_places, 1)
    bottom, top = _rank_range(lowest)
    labels = [
        Label(
            visible(mark.token),
            (mark.x + 0.5) * per_place,
            above.height * (float(np.log10(mark.rank)) - top) / (bottom - top),
            _sides(mark.stage, n_stages),
        )
        for mark in marks
    ]
    return place(labels, area=Box(0, 0, above.width, above.height), size=_LABEL_SIZE, radius=_RADIUS)


def _sides(stage: int, n_stages: int) -> tuple[Side, ...]:
    """Outwards first, so that labels of neighbouring stages do not fight for the same room."""
    if n_stages > 1 and stage == 0:
        return ("middle left", "top center", "bottom center", "middle right")
    return ("middle right", "top center", "bottom center", "middle left")


def _token_story(neuron: Neuron, mark: _Mark) -> str:
    tokens, place = neuron.tokens[mark.stage], mark.rank - 1
    tag = neuron.token_tags.get(mark.token)
    return hover(
        f"{visible(mark.token)} in {visible(neuron.stages[mark.stage])}",
        f"rank {count(mark.rank)} of {count(len(tokens))} tokens, probability {figure_of(tokens.probability[place])}",
        f"mean activation {figure_of(tokens.mean[place])}, {count(int(tokens.count[place]))} wins, "
        f"{percent(tokens.mass[place] / tokens.mass.sum())} of the neuron's activation mass",
        "" if tag is None else f"mostly tagged {visible(tag)}",
    )


def _lay_axes(
    figure: go.Figure,
    axis: int,
    above: Panel,
    below: Panel,
    plot_height: float,
    places: _Places,
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
                **log_ticks(top, bottom),
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
