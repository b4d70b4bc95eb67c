"""How neurons come into use and fall out of it from stage to stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import plotly.graph_objects as go
import polars as pl

from txray.analysis.findings import state_label
from txray.errors import UsageError
from txray.plots import theme
from txray.plots.frame import add_frame, caption_of_steps
from txray.plots.text import count, escape, fitted, hover_text, percent, plural, sanitize

if TYPE_CHECKING:
    from txray.analysis.timelines import Timeline

_MOST = 24
"""Stages side by side."""
# Darker than for marks of undecided neurons: here they lie between shared and un-preferred ones, which are grey, too.
_COLORS = {**theme.STATE_COLORS, "undecided": theme.MUTED}
_OPACITY = {"shared": 0.22, "unpreferred": 0.5, "undecided": 0.75}
_ENDS = {
    "shared": ("preferred", "preferred"),
    "avoided": ("preferred", "un-preferred"),
    "gained": ("un-preferred", "preferred"),
    "unpreferred": ("un-preferred", "un-preferred"),
}
"""State -> what a neuron is before and after."""
_MEANING = {
    "shared": "preferred in both",
    "avoided": "only before",
    "gained": "only after",
    "unpreferred": "in neither",
    "undecided": "avoided or gained, not significant",
}
_NODE = 14
"""Pixels."""


def knowledge_flow(timeline: Timeline, layer: str | None = None) -> go.Figure:
    """Preferred and un-preferred neurons of each stage, and the streams between them.

    Args:
        timeline: of at most 24 stages.
        layer: may be left out where there is one.

    Raises:
        UsageError: too many stages, or several layers and none named.
        UnknownNameError: no such layer.
    """
    chosen, names = timeline.layer(layer), timeline.names
    if len(names) > _MOST:
        raise UsageError(f"knowledge flow: {len(names)} stages; draw at most {_MOST} of them")
    stages = timeline.stages.filter(pl.col("layer") == chosen)
    flow = Flow(
        tuple(names),
        tuple(stages["preferred"].to_list()),
        int(stages["neurons"][0]),
        tuple(
            timeline.flows.filter((pl.col("layer") == chosen) & (pl.col("neurons") > 0))
            .select("before", "after", "state", "observed", "neurons")
            .iter_rows()
        ),
        tested=all(step.tested for step in timeline.steps[chosen]),
    )
    figure = traces(flow)
    return add_frame(
        figure,
        title=flow.finding,
        subtitle="Neurons of the layer from stage to stage: dark bars are preferred ones (their number below), "
        "light bars un-preferred ones",
        caption=caption_of_steps(timeline.steps[chosen]),
        below=40,
        left=28,
    )


@dataclass(frozen=True)
class Flow:
    """How many neurons went which way.

    Attributes:
        names: of the stages, in order.
        preferred: neurons that are preferred in each.
        neurons: in all.
        links: before, after, state, the state that an undecided neuron was observed in (else the same), neurons.
        tested: whether avoided and gained neurons are the significant ones only, or all that were observed.
    """

    names: tuple[str, ...]
    preferred: tuple[int, ...]
    neurons: int
    links: tuple[tuple[str, str, str, str, int], ...]
    tested: bool = True

    def label(self, state: str) -> str:
        """Return what the neurons of a state are called, so that observed and tested ones differ."""
        return state_label(state, tested=self.tested)

    @property
    def finding(self) -> str:
        """In words."""
        return (
            f"{count(self.preferred[0])} of {plural(self.neurons, 'neuron')} are preferred in "
            f"{sanitize(self.names[0])}, {count(self.preferred[-1])} in {sanitize(self.names[-1])}"
        )


def traces(flow: Flow) -> go.Figure:
    """Nodes, links and the names under them, without a frame.

    Args:
        flow: what to draw; at least two stages.
    """
    names, neurons = flow.names, flow.neurons
    number = {
        (name, side): preferred if side == "preferred" else neurons - preferred
        for name, preferred in zip(names, flow.preferred, strict=True)
        for side in ("preferred", "un-preferred")
    }
    # A node without neurons would throw plotly's layout of all others into disorder.
    nodes = [node for node, size in number.items() if size]
    place = {node: index for index, node in enumerate(nodes)}
    figure = go.Figure(
        go.Sankey(
            arrangement="fixed",
            node={
                "label": [""] * len(nodes),
                "color": [theme.MUTED if side == "preferred" else "#D9D9D9" for _, side in nodes],
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
                "source": [place[before, _ENDS[observed][0]] for before, _, _, observed, _ in flow.links],
                "target": [place[after, _ENDS[observed][1]] for _, after, _, observed, _ in flow.links],
                "value": [n for *_, n in flow.links],
                "color": [_color(state) for _, _, state, _, _ in flow.links],
                "customdata": [
                    hover_text(
                        f"{sanitize(before)} → {sanitize(after)}",
                        f"{plural(n, 'neuron')} "
                        f"{flow.label(state) if state != 'undecided' else f'{observed}, undecided'}"
                        f" ({percent(n / max(neurons, 1))}): {_MEANING[state]}",
                    )
                    for before, after, state, observed, n in flow.links
                ],
                "hovertemplate": "%{customdata}<extra></extra>",
            },
            domain={"x": [0, 1], "y": [0, 1]},
        )
    )
    drawn = {state for _, _, state, _, _ in flow.links}
    for state in _MEANING:
        if state in drawn:
            figure.add_scatter(
                name=f"{flow.label(state)} ({_MEANING[state]})",
                x=[None],
                y=[None],
                mode="markers",
                marker={"symbol": "square", "size": 12, "color": _color(state)},
            )
    figure.update_xaxes(visible=False).update_yaxes(visible=False)
    room = theme.PLOT_WIDTH / len(names)
    for index, name in enumerate(names):
        figure.add_annotation(
            text=f"{escape(fitted(sanitize(name), room - 4, theme.CAPTION_SIZE))}<br>"
            f"<b>{count(number[name, 'preferred'])}</b>",
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


def _across(index: int, n: int) -> float:
    # Plotly takes neither 0 nor 1 for the place of a node.
    return min(max(index / (n - 1), 0.001), 0.999)


def _down(number: int, neurons: int, side: str) -> float:
    """The middle of a node: preferred ones on top, un-preferred ones at the bottom."""
    share = number / max(neurons, 1)
    return min(max(share / 2 if side == "preferred" else 1 - share / 2, 0.001), 0.999)


def _color(state: str) -> str:
    red, green, blue = (int(_COLORS[state][i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{_OPACITY.get(state, 0.85)})"
