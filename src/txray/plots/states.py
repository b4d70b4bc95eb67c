"""How many neurons are shared, avoided, gained or un-preferred."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go

from txray.errors import UsageError
from txray.plots import theme
from txray.plots.frame import caption_of_steps, dress
from txray.plots.text import count, hover, percent, plural, shown, text_width, visible

if TYPE_CHECKING:
    from txray.transfer.comparison import Comparison

_MEANING = {
    "shared": "preferred in both",
    "avoided": "preferred only before",
    "gained": "preferred only after",
    "unsure": "in one only, by no more than chance",
    "unpreferred": "in neither",
}
_COLORS = {**theme.STATE_COLORS, "unsure": theme.UNSURE}
_ROW = 74


def states(*comparisons: Comparison) -> go.Figure:
    """Shared, avoided, gained and un-preferred neurons, one bar per comparison; unsure ones where that was tested.

    Args:
        comparisons: one or more; the title tells the last.

    Raises:
        UsageError: no comparison given.

    Source:
        Rethmeier et al. 2020, section 2.3.
    """
    if not comparisons:
        raise UsageError("states: no comparison; give at least one")
    names = [f"{visible(c.before.stage)} → {visible(c.after.stage)}" for c in comparisons]
    figure = go.Figure()
    for state, meaning in _MEANING.items():
        numbers = [_number(c, state) for c in comparisons]
        if state == "unsure" and not any(numbers):
            continue
        shares = [n / max(len(c.neurons), 1) for n, c in zip(numbers, comparisons, strict=True)]
        figure.add_bar(
            name=f"{state} ({meaning})",
            x=[100 * share for share in shares],
            y=list(range(len(comparisons))),
            orientation="h",
            width=0.62,
            marker={"color": _COLORS[state], "line": {"color": theme.MUTED, "width": 0.8}},
            text=[_label(state, n, share) for n, share in zip(numbers, shares, strict=True)],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            textfont={"color": theme.INK, "size": theme.SUBTITLE_SIZE},
            constraintext="none",
            hovertext=[
                hover(
                    name,
                    f"{plural(n, 'neuron')} {state}: {meaning}",
                    f"{percent(share)} of {count(len(c.neurons))}",
                )
                for name, n, share, c in zip(names, numbers, shares, comparisons, strict=True)
            ],
            hoverinfo="text",
        )
    figure.update_layout(barmode="stack")
    figure.update_xaxes(range=[0, 100], ticksuffix=" %", title_text="share of all neurons of the layer")
    figure.update_yaxes(
        range=[len(comparisons) - 0.5, -0.5], tickvals=[], showline=False, showgrid=False, ticks=""
    )
    for row, comparison in enumerate(comparisons):
        figure.add_annotation(
            text=f"<b>{shown(comparison.before.stage)} → {shown(comparison.after.stage)}</b>",
            x=0,
            xref="paper",
            xanchor="left",
            y=row - 0.31,
            yref="y",
            yanchor="bottom",
            showarrow=False,
        )
    last = comparisons[-1]
    avoided, gained, unsure = (_number(last, state) for state in ("avoided", "gained", "unsure"))
    return dress(
        figure,
        title=f"{count(last.summary['shared'])} of {plural(len(last.neurons), 'neuron')} stay preferred from "
        f"{visible(last.before.stage)} to {visible(last.after.stage)}; {count(avoided)} avoided, "
        f"{count(gained)} gained" + (f", {count(unsure)} undecided" if last.tested else "; not tested"),
        subtitle="State of every neuron of the layer between two stages",
        caption=caption_of_steps(comparisons),
        plot_height=max(150, _ROW * len(comparisons)),
    )


def _number(comparison: Comparison, state: str) -> int:
    """Neurons of a state; where it was tested, avoided and gained ones are those beyond chance."""
    if comparison.tested and state in ("avoided", "gained"):
        return int(comparison.summary[f"confident_{state}"])
    return int(comparison.summary.get(state, 0))


def _label(state: str, number: int, share: float) -> str:
    """What stands in a bar: as much as fits."""
    room = share * theme.PLOT_WIDTH - 8
    for text in (
        f"{state} {count(number)} ({percent(share)})",
        f"{count(number)} ({percent(share)})",
        count(number),
    ):
        if text_width(text, theme.SUBTITLE_SIZE) <= room:
            return text
    return ""
