"""Neurons that start and stop being in use, stage by stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import plotly.graph_objects as go
import polars as pl

from txray.analysis.states import (
    CONFIDENT_STATES,
    DISPLACED,
    NOT_SIGNIFICANT,
    STATE_NAMES,
    paper_label,
    state_label,
)
from txray.errors import UsageError
from txray.plots import theme
from txray.plots.frame import add_frame, caption_of_steps
from txray.plots.subjects import checked_subjects
from txray.plots.text import count, escape, fitted, hover_text, percent, plural, sanitize

if TYPE_CHECKING:
    from txray.analysis.timelines import Timeline

_MOST = 24
"""Stages side by side."""
# Darker than the marks of undecided neurons, because it lies between two other greys.
_COLORS = {**theme.STATE_COLORS, "undecided": theme.MUTED}
_OPACITY = {"shared": 0.22, "unpreferred": 0.5, "undecided": 0.75}
_USED, _UNUSED = "in use", "not in use"
_ENDS = {
    "shared": (_USED, _USED),
    "avoided": (_USED, _UNUSED),
    "gained": (_UNUSED, _USED),
    "unpreferred": (_UNUSED, _UNUSED),
}
"""State -> before and after."""
_NODE = 14
"""Pixels."""


@checked_subjects
def knowledge_flow(timeline: Timeline, layer: str | None = None) -> go.Figure:
    """Draw the neurons in use and not in use in every stage, and the streams between them.

    Args:
        timeline: of at most 24 stages.
        layer: required only if there are several.

    Raises:
        UsageError: too many stages, or several layers and none named.
        UnknownNameError: no such layer.
    """
    layer_name, names = timeline.layer(layer), timeline.names
    if len(names) > _MOST:
        raise UsageError(f"knowledge flow: {len(names)} stages; draw at most {_MOST} of them")
    stages = timeline.stages.filter(pl.col("layer") == layer_name)
    flow = Flow(
        tuple(names),
        tuple(stages["preferred"].to_list()),
        int(stages["neurons"][0]),
        tuple(
            timeline.flows.filter((pl.col("layer") == layer_name) & (pl.col("neurons") > 0))
            .select("before", "after", "state", "observed", "neurons")
            .iter_rows()
        ),
        tested=all(step.tested for step in timeline.steps[layer_name]),
    )
    figure = traces(flow)
    return add_frame(
        figure,
        title=flow.finding,
        subtitle="Neurons of the layer, stage by stage. Dark bars: in use (number below); light bars: not in use",
        caption=caption_of_steps(timeline.steps[layer_name]),
        below=40,
        left=28,
    )


@dataclass(frozen=True)
class Flow:
    """Numbers of neurons by stage and by state.

    Attributes:
        names: of the stages, in order.
        preferred: neurons in use in each.
        neurons: number of all.
        links: before, after, state, the observed state of undecided and displaced neurons (else the same), neurons.
        tested: whether avoided and gained neurons are the significant ones only, or all that were observed.
    """

    names: tuple[str, ...]
    preferred: tuple[int, ...]
    neurons: int
    links: tuple[tuple[str, str, str, str, int], ...]
    tested: bool = True

    @property
    def finding(self) -> str:
        """Return how many neurons are in use in the first and the last stage."""
        return (
            f"{count(self.preferred[0])} of {plural(self.neurons, 'neuron')} are in use in "
            f"{sanitize(self.names[0])}, {count(self.preferred[-1])} in {sanitize(self.names[-1])}"
        )


def traces(flow: Flow) -> go.Figure:
    """Draw nodes, links and the names under them, without a frame; at least two stages."""
    names, neurons = flow.names, flow.neurons
    number = {
        (name, side): preferred if side == _USED else neurons - preferred
        for name, preferred in zip(names, flow.preferred, strict=True)
        for side in (_USED, _UNUSED)
    }
    # A node without neurons would disturb plotly's layout of all others.
    nodes = [node for node, size in number.items() if size]
    index_of = {node: index for index, node in enumerate(nodes)}
    figure = go.Figure(
        go.Sankey(
            arrangement="fixed",
            node={
                "label": [""] * len(nodes),
                "color": [theme.MUTED if side == _USED else "#D9D9D9" for _, side in nodes],
                "x": [_across(names.index(name), len(names)) for name, _ in nodes],
                "y": [_down(number[node], neurons, node[1]) for node in nodes],
                "thickness": _NODE,
                "pad": 12,
                "line": {"width": 0},
                "customdata": [
                    hover_text(sanitize(name), f"{plural(number[name, side], 'neuron')} {side}")
                    for name, side in nodes
                ],
                "hovertemplate": "%{customdata}<extra></extra>",
            },
            link={
                "source": [index_of[before, _ENDS[observed][0]] for before, _, _, observed, _ in flow.links],
                "target": [index_of[after, _ENDS[observed][1]] for _, after, _, observed, _ in flow.links],
                "value": [n for *_, n in flow.links],
                "color": [_color(state) for _, _, state, _, _ in flow.links],
                "customdata": [
                    hover_text(
                        f"{sanitize(before)} → {sanitize(after)}",
                        f"{plural(n, 'neuron')} {_label(state, observed, tested=flow.tested)} "
                        f"({percent(n / max(neurons, 1))})",
                    )
                    for before, after, state, observed, n in flow.links
                ],
                "hovertemplate": "%{customdata}<extra></extra>",
            },
            domain={"x": [0, 1], "y": [0, 1]},
        )
    )
    drawn = {state for _, _, state, _, _ in flow.links}
    for state in CONFIDENT_STATES:
        if state in drawn:
            figure.add_scatter(
                name=paper_label(state, tested=flow.tested),
                x=[None],
                y=[None],
                mode="markers",
                marker={"symbol": "square", "size": 12, "color": _color(state)},
            )
    figure.update_xaxes(visible=False).update_yaxes(visible=False)
    width = theme.PLOT_WIDTH / len(names)
    for index, name in enumerate(names):
        figure.add_annotation(
            text=f"{escape(fitted(sanitize(name), width - 4, theme.CAPTION_SIZE))}<br>"
            f"<b>{count(number[name, _USED])}</b>",
            x=index / (len(names) - 1),
            xref="paper",
            y=0,
            yref="paper",
            yanchor="top",
            xanchor="left" if index == 0 else "right" if index == len(names) - 1 else "center",
            font={"size": theme.CAPTION_SIZE},
            showarrow=False,
        )
    return figure


def _label(state: str, observed: str, *, tested: bool) -> str:
    """Return the state of a stream, with the observed one if tests left it undecided."""
    if state == DISPLACED:
        return f"{STATE_NAMES[observed]}, {DISPLACED}"
    if state == "undecided":
        return f"{STATE_NAMES[observed]}, {NOT_SIGNIFICANT}"
    return state_label(state, tested=tested)


def _across(index: int, n: int) -> float:
    # Plotly accepts neither 0 nor 1 as the position of a node.
    return min(max(index / (n - 1), 0.001), 0.999)


def _down(number: int, neurons: int, side: str) -> float:
    """Return the middle of a node: neurons in use at the top, others at the bottom."""
    share = number / max(neurons, 1)
    return min(max(share / 2 if side == _USED else 1 - share / 2, 0.001), 0.999)


def _color(state: str) -> str:
    red, green, blue = (int(_COLORS[state][i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{_OPACITY.get(state, 0.85)})"
