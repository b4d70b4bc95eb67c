"""The frame around every figure: title, legend, caption, and a message where there is nothing to draw."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from txray.analysis.states import ONLY_TEXT
from txray.analysis.test_facts import family_words
from txray.plots import theme
from txray.plots.text import count, escape, sanitize, text_width, unescape, wrapped

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
_BREAK = r"<br\s*/?>"


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
    """Add title, legend and caption to a figure, in place; nothing overlaps, whatever the length of the texts.

    With the usual `left`, the plotting area is `theme.PLOT_WIDTH` by `plot_height` pixels; the margins grow with the
    texts and the legend. Texts are plain: markup in them is escaped.

    Args:
        figure: with all its traces; named ones get a legend entry.
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
            # In a title of several lines, plotly aligns the first baseline, not the capitals.
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
    """Give a figure without title and caption the size of a panel, in place; a wider page stretches it.

    The legend is laid out for `width` pixels; `height` includes the margins, of which `left` and `below` are two.
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
    """Return the number of rows of the legend; plotly makes all entries of a wrapped legend as wide as the widest."""
    names = [trace.name for trace in figure.data if trace.name is not None and trace.showlegend is not False]
    if not names:
        return 0
    widths = [text_width(unescape(name), theme.SIZE) + _LEGEND_ENTRY for name in names]
    if sum(widths) <= width:
        return 1
    return math.ceil(len(names) / max(1, int(width // max(widths))))


def empty_figure(figure: go.Figure, words: str) -> go.Figure:
    """Write, in place, why there is nothing to draw."""
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
    """Return the source of a figure, as plain text: stages, layer, feature type, selection, words, folds, and a note.

    What all `preferences` have in common is named once.
    """
    if not preferences:
        return note
    parts = (
        (
            "stages " if len(_distinct(p.stage for p in preferences)) > 1 else "stage ",
            [p.stage for p in preferences],
        ),
        ("layer ", [p.layer for p in preferences]),
        ("feature type ", [p.feature_type for p in preferences]),
        ("selection ", [p.selection for p in preferences]),
    )
    words = _distinct(count(p.words) for p in preferences)
    folds = _distinct(str(p.folds) for p in preferences)
    facts = [head + ", ".join(sanitize(value) for value in _few(_distinct(values))) for head, values in parts]
    facts += [" / ".join(_few(words)) + " words", " / ".join(folds) + " folds"]
    return " · ".join([*facts, note] if note else facts)


def caption_of(comparison: Comparison, note: str = "") -> str:
    """Return the caption of both sides of a comparison, with its weight and its tests."""
    weight = f"weight {comparison.weight}"
    if comparison.tested:
        summary = comparison.summary
        paired = "paired " if summary["paired"] else ""
        chi_square = summary.get("statistic") == "chi-square"  # comparisons saved earlier tested the distance
        statistic = "chi-square" if chi_square else summary["distance"]
        weight += f" · tested by {statistic}, up to {count(int(summary['permutations']))} {paired}"
        weight += f"permutations of folds, {sanitize(family_words(summary), 120)}"
    else:
        weight += " · not tested"
    if comparison.only_text:
        weight += f" · {ONLY_TEXT}"
    return caption(comparison.before, comparison.after, note=f"{weight} · {note}" if note else weight)


def caption_of_steps(comparisons: Iterable[Comparison]) -> str:
    """Return the caption of all stages of consecutive comparisons, in order."""
    steps = list(comparisons)
    same = [
        f"{sanitize(step.before.stage)} → {sanitize(step.after.stage)}" for step in steps if step.only_text
    ]
    note = f"{ONLY_TEXT} in {', '.join(_few(_distinct(same)))}" if same else ""
    return caption(*(side for step in steps for side in (step.before, step.after)), note=note)


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _few(values: Sequence[str], max_values: int = 8) -> list[str]:
    if len(values) <= max_values:
        return list(values)
    return [*values[: max_values - 1], f"... ({len(values)} in total)"]


def feature_noun(feature_type: str) -> str:
    """Return what one feature of a type is called in titles and on axes."""
    return _NOUNS.get(feature_type, f"{sanitize(feature_type)} feature")


_NOUNS: Mapping[str, str] = {
    "token": "token",
    "pos": "POS tag",
    "upos": "universal POS tag",
    "output": "predicted word",
    "label": "label",
}


def headings(layout: go.Layout) -> tuple[str, str]:
    """Return title and subtitle as plain text: bold lines of a title are the title, the others its subtitle."""
    lines = re.split(_BREAK, layout.title.text or "")
    bold = [line for line in lines if line.startswith("<b>")] or lines
    rest = [line for line in lines if line not in bold]
    if layout.title.subtitle.text:
        rest.append(layout.title.subtitle.text)
    return _plain(" ".join(bold)), _plain(" ".join(rest))


def heading_height(layout: go.Layout) -> int:
    """Return the pixels that a figure spends on its title; 0 where title, margin or height are not set."""
    if layout.margin.t is None or layout.height is None or not layout.title.text:
        return 0
    lines = len(re.split(_BREAK, layout.title.text))
    return int(min(1.3 * (layout.title.font.size or 17) * lines, layout.margin.t))


def _plain(markup: str) -> str:
    """Return the text of a plotly title without its markup."""
    return html.unescape(re.sub(r"</?(b|i|sub|sup|span)( [^>]*)?>", "", re.sub(_BREAK, " ", markup)))
