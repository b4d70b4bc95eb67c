"""How many neurons are in use in both stages, in one of them, or in neither."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import plotly.graph_objects as go
import polars as pl

from txray.analysis.states import DISPLACED, paper_label, state_label
from txray.errors import UsageError
from txray.plots import theme
from txray.plots.frame import add_frame, caption_of_steps
from txray.plots.subjects import checked_subjects
from txray.plots.text import count, escape_word, hover_text, percent, plural, sanitize, text_width

if TYPE_CHECKING:
    from txray.analysis.comparison import Comparison

_ROW = 74


@dataclass(frozen=True)
class _Bar:
    """The neurons of one state, in all comparisons that have it."""

    state: str
    tested: bool | None = None
    """Whether it is a state of tested comparisons, or of untested ones; None for both."""

    @property
    def name(self) -> str:
        return state_label(self.state, tested=self.tested is not False)

    def number(self, comparison: Comparison) -> int:
        """Return how many neurons of a comparison are in the state."""
        if self.tested is not None and self.tested != comparison.tested:
            return 0
        column = "confident_state" if comparison.tested else "state"
        return int((comparison.neurons[column].cast(pl.String) == self.state).sum())


_BARS = (
    _Bar("shared"),
    _Bar("avoided", tested=True),
    _Bar("gained", tested=True),
    _Bar("undecided"),
    _Bar(DISPLACED),
    _Bar("avoided", tested=False),
    _Bar("gained", tested=False),
    _Bar("unpreferred"),
)


@checked_subjects
def states(*comparisons: Comparison) -> go.Figure:
    """Draw the neurons of each state, one bar per comparison; observed and tested states look and read differently.

    Args:
        comparisons: one or more; the title is about the last.

    Raises:
        UsageError: no comparison given.

    Source:
        Rethmeier et al. 2020, section 2.3.
    """
    if not comparisons:
        raise UsageError("states: no comparison; give at least one")
    names = [f"{sanitize(c.before.stage)} → {sanitize(c.after.stage)}" for c in comparisons]
    figure = go.Figure()
    tested = {comparison.tested for comparison in comparisons}
    for bar in _BARS:
        numbers = [bar.number(c) for c in comparisons]
        if (bar.state in ("undecided", DISPLACED) and not any(numbers)) or not (
            bar.tested is None or bar.tested in tested
        ):
            continue
        shares = [n / max(len(c.neurons), 1) for n, c in zip(numbers, comparisons, strict=True)]
        figure.add_bar(
            name=paper_label(bar.state, tested=bar.tested is not False),
            x=[100 * share for share in shares],
            y=list(range(len(comparisons))),
            orientation="h",
            width=0.62,
            marker={
                "color": theme.STATE_COLORS[bar.state],
                "line": {"color": theme.MUTED, "width": 0.8},
                # Hatched: not tested, so some of them are chance.
                "pattern": {
                    "shape": "/" if bar.tested is False else "",
                    "fillmode": "overlay",
                    "fgcolor": theme.PAPER,
                    "solidity": 0.25,
                },
            },
            text=[_label(bar.name, n, share) for n, share in zip(numbers, shares, strict=True)],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            textfont={"color": theme.INK, "size": theme.SUBTITLE_SIZE},
            constraintext="none",
            hovertext=[
                hover_text(
                    name,
                    f"{plural(n, 'neuron')} {bar.name}",
                    f"{percent(share)} of {count(len(c.neurons))}",
                )
                for name, n, share, c in zip(names, numbers, shares, comparisons, strict=True)
            ],
            hoverinfo="text",
        )
    figure.update_layout(barmode="stack")
    figure.update_xaxes(range=[0, 100], ticksuffix="%", title_text="share of all neurons of the layer")
    figure.update_yaxes(
        range=[len(comparisons) - 0.5, -0.5], tickvals=[], showline=False, showgrid=False, ticks=""
    )
    for row, comparison in enumerate(comparisons):
        figure.add_annotation(
            text=f"<b>{escape_word(comparison.before.stage)} → {escape_word(comparison.after.stage)}</b>",
            x=0,
            xref="paper",
            xanchor="left",
            y=row - 0.31,
            yref="y",
            yanchor="bottom",
            showarrow=False,
        )
    last = comparisons[-1]
    findings = last.findings
    return add_frame(
        figure,
        title=f"{count(last.summary['shared'])} of {plural(len(last.neurons), 'neuron')} are in use in both "
        f"{sanitize(last.before.stage)} and {sanitize(last.after.stage)}; {findings.one_sided}"
        + ("" if last.tested else " (observed, not tested)"),
        subtitle="In which of the two stages every neuron of the layer is in use (brackets: the word of the paper)",
        caption=caption_of_steps(comparisons),
        plot_height=max(150, _ROW * len(comparisons)),
    )


def _label(state: str, number: int, share: float) -> str:
    """Return the text in a bar: as much as fits."""
    room = share * theme.PLOT_WIDTH - 8
    for text in (
        f"{state} {count(number)} ({percent(share)})",
        f"{count(number)} ({percent(share)})",
        count(number),
    ):
        if text_width(text, theme.SUBTITLE_SIZE) <= room:
            return text
    return ""
