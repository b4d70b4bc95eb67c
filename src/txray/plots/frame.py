"""The frame around every figure: title, legend, caption, axes, and words where there is nothing to draw."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from txray.plots import theme
from txray.plots.text import count, escape, sanitize, text_width, unescape, wrapped
from txray.sampling import even_sample as even_sample

if TYPE_CHECKING:
    from txray.analysis.comparison import Comparison
    from txray.preferences.preferences import Preferences

_EDGE = 14
_TITLE_LINE = 1.3 * theme.TITLE_SIZE
_BELOW_AXIS = 52
"""Pixels for tick labels and axis title under the plotting area."""
_LEGEND_ENTRY = 50
"""Pixels of a legend entry beside its text: symbol and spacing."""
_LEGEND_ROW = 20


def add_frame(
    figure: go.Figure,
    *,
    title: str,
    subtitle: str,
    caption: str,
    plot_height: int = theme.PLOT_HEIGHT,
    below: int = _BELOW_AXIS,
    left: int = theme.LEFT,
) -> go.Figure:
    """Put the frame around a figure, in place: nothing overlaps, whatever the length of the texts.

    With the usual `left`, the plotting area is `theme.PLOT_WIDTH` by `plot_height` pixels; the margins grow with the
    texts and the legend. Texts are plain: whatever looks like markup in them stays text.

    Args:
        figure: with all its traces, named ones as they shall stand in the legend.
        title: the finding, with its number.
        subtitle: what is drawn.
        caption: where the data come from; see `caption`.
        plot_height: of the plotting area, in pixels.
        below: pixels under the plotting area that belong to tick labels and axis titles.
        left: pixels left of the plotting area.
    """
    across = theme.WIDTH - 2 * _EDGE
    titles = wrapped(title, across, theme.TITLE_SIZE, bold=True)
    subtitles = wrapped(subtitle, across, theme.SUBTITLE_SIZE)
    captions = wrapped(caption, across, theme.CAPTION_SIZE)
    heading = len(titles) + len(subtitles)
    legend_rows = _legend_rows(figure)
    top = round(_EDGE + heading * _TITLE_LINE + 8 + legend_rows * _LEGEND_ROW)
    bottom = round(below + 12 + len(captions) * theme.CAPTION_SIZE * 1.3 + 8)
    small = f"font-size:{theme.SUBTITLE_SIZE}px;color:{theme.MUTED}"
    figure.update_layout(
        template=theme.template(),
        width=theme.WIDTH,
        height=top + plot_height + bottom,
        margin={"l": left, "r": theme.RIGHT, "t": top, "b": bottom, "pad": 0},
        title={
            # Not plotly's own subtitle: it keeps a wide gap, and pushes a title of two lines out.
            "text": "<br>".join(
                (
                    *(f"<b>{escape(line)}</b>" for line in titles),
                    *(f'<span style="{small}">{escape(line)}</span>' for line in subtitles),
                )
            ),
            "font": {"size": theme.TITLE_SIZE, "color": theme.INK},
            "x": 0,
            "xref": "container",
            "xanchor": "left",
            "y": 1,
            "yref": "container",
            "yanchor": "top",
            # In a title of several lines, plotly puts the first baseline here, not its capitals.
            "pad": {"l": _EDGE, "t": _EDGE + 0.7 * theme.TITLE_SIZE},
        },
        showlegend=legend_rows > 0,
        legend=_LEGEND,
    )
    figure.add_annotation(
        text=_joined(captions),
        font={"size": theme.CAPTION_SIZE, "color": theme.MUTED},
        x=0,
        y=0,
        xref="paper",
        yref="paper",
        xanchor="left",
        yanchor="top",
        xshift=_EDGE - left,
        yshift=-(below + 12),
        align="left",
        showarrow=False,
    )
    return figure


def fit_panel(
    figure: go.Figure, *, width: int, height: int, left: int = 64, below: int = _BELOW_AXIS
) -> go.Figure:
    """Give a figure without title and caption the size of a panel, in place; what is wider than that stretches it.

    Args:
        figure: with all its traces.
        width: at least, in pixels; the legend is laid out for it.
        height: with its margins, in pixels.
        left, below: pixels left of and under the plotting area.
    """
    rows = _legend_rows(figure, width - left - 16)
    figure.update_layout(
        template=theme.template(),
        autosize=True,
        height=height,
        margin={"l": left, "r": 16, "t": 16 + rows * _LEGEND_ROW, "b": below, "pad": 0},
        showlegend=rows > 0,
        legend=_LEGEND,
    )
    return figure


_LEGEND = {
    "orientation": "h",
    "x": 0,
    "xanchor": "left",
    "y": 1,
    "yanchor": "bottom",
    "itemsizing": "constant",
    "traceorder": "normal",
    # Tick labels reach up beside it.
    "bgcolor": "rgba(0,0,0,0)",
    "font": {"size": theme.SIZE},
}


def _joined(lines: Sequence[str]) -> str:
    return "<br>".join(map(escape, lines))


def _legend_rows(figure: go.Figure, width: float = theme.PLOT_WIDTH) -> int:
    """Rows of the legend: plotly gives all entries of a wrapped legend the width of the widest."""
    names = [trace.name for trace in figure.data if trace.name is not None and trace.showlegend is not False]
    if not names:
        return 0
    widths = [text_width(unescape(name), theme.SIZE) + _LEGEND_ENTRY for name in names]
    if sum(widths) <= width:
        return 1
    return math.ceil(len(names) / max(1, int(width // max(widths))))


def empty_figure(figure: go.Figure, words: str) -> go.Figure:
    """Say in words, in place, why there is nothing to draw."""
    figure.update_xaxes(visible=False).update_yaxes(visible=False)
    lines = wrapped(words, 0.8 * theme.PLOT_WIDTH, theme.TITLE_SIZE)
    figure.add_annotation(
        text=_joined(lines),
        font={"size": theme.TITLE_SIZE, "color": theme.MUTED},
        x=0.5,
        y=0.5,
        xref="paper",
        yref="paper",
        showarrow=False,
    )
    return figure


def caption(*preferences: Preferences, note: str = "") -> str:
    """Where a picture comes from: stages, layer, feature type, selection, words, folds, as plain text.

    Args:
        preferences: everything drawn; what all have in common is said once.
        note: what else a reader must know, e.g. that a sample is shown.
    """
    if not preferences:
        return note
    parts = (
        (
            "stages " if len(_distinct(p.stage for p in preferences)) > 1 else "stage ",
            [p.stage for p in preferences],
        ),
        ("layer ", [p.layer for p in preferences]),
        ("feature ", [p.feature_type for p in preferences]),
        ("selection ", [p.selection for p in preferences]),
    )
    words = _distinct(count(p.words) for p in preferences)
    folds = _distinct(str(p.folds) for p in preferences)
    told = [head + ", ".join(sanitize(value) for value in _few(_distinct(values))) for head, values in parts]
    told += [" / ".join(_few(words)) + " words", " / ".join(folds) + " folds"]
    return " · ".join([*told, note] if note else told)


def caption_of(comparison: Comparison, note: str = "") -> str:
    """`caption` of both sides of a comparison, with its weight."""
    weight = f"weight {comparison.weight}"
    if comparison.tested:
        summary = comparison.summary
        dealt = f"up to {count(int(summary['permutations']))} {'paired ' if summary['paired'] else ''}permutations"
        weight += f" · tested by {summary['distance']}, {dealt} of folds"
    else:
        weight += " · not tested"
    return caption(comparison.before, comparison.after, note=f"{weight} · {note}" if note else weight)


def caption_of_steps(comparisons: Iterable[Comparison]) -> str:
    """`caption` of every stage that the comparisons pass through, in order."""
    return caption(*(side for one in comparisons for side in (one.before, one.after)))


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _few(values: Sequence[str], most: int = 8) -> list[str]:
    if len(values) <= most:
        return list(values)
    return [*values[: most - 1], f"... {len(values)} in all"]


def feature_noun(feature_type: str) -> str:
    """What one feature of a kind is called in titles and on axes."""
    return _NOUNS.get(feature_type, f"{sanitize(feature_type)} feature")


_NOUNS: Mapping[str, str] = {
    "token": "token",
    "pos": "POS tag",
    "upos": "universal POS tag",
    "output": "predicted word",
    "label": "label",
}


def log_axis(values: NDArray[np.float64], title: str) -> dict[str, Any]:
    """Layout of a logarithmic axis with ticks at powers of ten (1-10-100), finer where the span is short.

    Args:
        values: what is drawn along the axis; only those above 0 count.
        title: quantity and unit, plain text.
    """
    low, high = _log_span(values)
    return {
        "type": "log",
        "range": [low, high],
        **log_ticks(low, high),
        "title": {"text": escape(f"{title}, log scale")},
    }


def log_ticks(low: float, high: float) -> dict[str, Any]:
    """Labelled ticks at powers of ten, or at 1-2-5 where fewer than three would fit, and small ones between.

    Args:
        low, high: ends of the axis, as powers of ten; `low` below `high`.
    """
    decades = range(math.floor(low) - 1, math.ceil(high) + 1)

    def within(steps: Sequence[int]) -> list[float]:
        ticks = [step * 10.0**decade for decade in decades for step in steps]
        return [tick for tick in ticks if low <= math.log10(tick) <= high]

    chosen = within((1,)) if len(within((1,))) > 2 else within((1, 2, 5))
    return {
        "tickmode": "array",
        "tickvals": chosen,
        "ticktext": [_tick(value) for value in chosen],
        "minor": {
            "tickmode": "array",
            "tickvals": within(range(2, 10)),
            "ticks": "outside",
            "ticklen": 2,
            "tickcolor": theme.FAINT,
        },
    }


def _log_span(values: NDArray[np.float64]) -> tuple[float, float]:
    positive = values[np.isfinite(values) & (values > 0)]
    if len(positive) == 0:
        return 0.0, 1.0
    low, high = math.log10(float(positive.min())), math.log10(float(positive.max()))
    room = max(0.04 * (high - low), 0.03)
    low, high = low - room, high + room
    # Wide enough for two ticks of 1-2-5, wherever it lies.
    spare = max(0.0, 0.72 - (high - low)) / 2
    return low - spare, high + spare


def _tick(value: float) -> str:
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{sign}"
    return f"{value:g}"


def linear_axis(values: NDArray[np.float64], title: str, *, unit: str = "") -> dict[str, Any]:
    """Layout of a linear axis that starts at 0.

    Args:
        values: what is drawn along the axis, none below 0.
        title: quantity and unit, plain text.
        unit: put behind every tick, e.g. ` %`.
    """
    finite = values[np.isfinite(values)]
    top = float(finite.max()) if len(finite) else 0.0
    return {
        "type": "linear",
        "range": [0, 1.06 * top if top > 0 else 1],
        "ticksuffix": unit,
        # Prefixes of units, such as 400µ, say nothing of a distance.
        "exponentformat": "B" if top >= 1 else "power",
        "rangemode": "tozero",
        "title": {"text": escape(title)},
    }


def whole_step(last: float) -> int:
    """Distance between the ticks of an axis of whole numbers that ends at `last`: 1, 2, 5, 10, ..., few ticks."""
    steps = (step * int(10**decade) for decade in itertools.count() for step in (1, 2, 5))
    return next(step for step in steps if last / step <= 12)


@dataclass(frozen=True, slots=True)
class Panel:
    """One of several plotting areas of a figure: a rectangle in pixels from the top left corner.

    Attributes:
        left, top, width, height: in pixels, within the plotting area of the figure.
    """

    left: float
    top: float
    width: float
    height: float

    def domains(self, plot_height: float) -> tuple[list[float], list[float]]:
        """The x and y domains that plotly's axes need, as shares of the plotting area.

        Args:
            plot_height: of the figure's whole plotting area, in pixels.
        """
        bottom = self.top + self.height
        return (
            [self.left / theme.PLOT_WIDTH, (self.left + self.width) / theme.PLOT_WIDTH],
            [max(0.0, 1 - bottom / plot_height), min(1.0, 1 - self.top / plot_height)],
        )


def tiled(n: int, columns: int, *, height: float, gap_across: float, gap_down: float) -> list[Panel]:
    """Panels of equal size, row by row, over the whole width.

    Args:
        n: panels.
        columns: panels per row.
        height: of a panel, in pixels.
        gap_across, gap_down: pixels between panels.
    """
    width = (theme.PLOT_WIDTH - gap_across * (columns - 1)) / columns
    return [
        Panel((width + gap_across) * (i % columns), (height + gap_down) * (i // columns), width, height)
        for i in range(n)
    ]
