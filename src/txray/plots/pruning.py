"""Figure of the effects of ablation: sets beside random sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
import polars as pl

from txray.plots import theme
from txray.plots.frame import add_frame
from txray.plots.metrics import (
    VERDICTS,
    caption_of_pruning,
    chance_words,
    chosen_rows,
    effect_hover_text,
    metric_name,
    scale_of,
    splits_of,
)
from txray.plots.subjects import checked_subjects
from txray.plots.text import escape, fitted, plural, sanitize
from txray.pruning.multiplicity import corrected, verdict_counts

if TYPE_CHECKING:
    from txray.pruning.result import Pruning

_ROW = 64
_NAME_WIDTH = 210
_VERDICT_WIDTH = 150
"""Pixels of the names at the left, and of what is said at the right."""


@checked_subjects
def pruning_effects(pruning: Pruning, metric: str | None = None) -> go.Figure:
    """Draw how a metric changes with each set, with 95% intervals over documents, beside random sets of the same size.

    Args:
        pruning: of `txray.prune`.
        metric: by default F1, perplexity, or the first that there is.

    Raises:
        UnknownNameError: no such metric.
    """
    metric, rows = chosen_rows(pruning, metric)
    splits = splits_of(rows)
    names = rows["set"].unique(maintain_order=True).to_list()
    heights = {
        (name, split): i + _offset(j, len(splits))
        for i, name in enumerate(names)
        for j, split in enumerate(splits)
    }
    scale, unit = scale_of(metric)
    figure = go.Figure()
    drawn = _random_values(pruning, rows, metric)
    if drawn:
        figure.add_scatter(
            name="random sets of the same size",
            x=[scale * (value - row["unpruned"]) for row, values in drawn for value in values],
            y=[heights[row["set"], row["split"]] for row, values in drawn for _ in values],
            mode="markers",
            marker={
                "symbol": "line-ns",
                "size": 11,
                "line": {"color": theme.FAINT, "width": 1.4},
                "opacity": 0.8,
            },
            hoverinfo="skip",
        )
    for split in splits:
        of_split = rows.filter(pl.col("split") == split)
        color, symbol = split_style(split, splits)
        figure.add_scatter(
            name=escape(sanitize(split)),
            x=(scale * of_split["change"]).to_list(),
            y=[heights[name, split] for name in of_split["set"]],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": (scale * (of_split["change_high"] - of_split["change"])).fill_null(0).to_list(),
                "arrayminus": (scale * (of_split["change"] - of_split["change_low"])).fill_null(0).to_list(),
                "thickness": 1.6,
                "width": 5,
                "color": color,
            },
            mode="markers",
            marker={"color": color, "symbol": symbol, "size": 9},
            hovertext=[effect_hover_text(row, metric) for row in of_split.iter_rows(named=True)],
            hoverinfo="text",
        )
    figure.add_vline(0, line={"color": theme.INK, "width": 1})
    last = splits[-1]
    verdicts = dict(
        corrected(rows).filter(pl.col("split") == last).select("set", "corrected_verdict").iter_rows()
    )
    for i, name in enumerate(names):
        neurons = rows.filter(pl.col("set") == name)["neurons"][0]
        write_left(figure, name, f"{plural(neurons, 'neuron')}", i)
        if name in verdicts:
            write_right(figure, VERDICTS[verdicts[name]], i, verdicts[name])
    row_axes(figure, len(names))
    figure.update_xaxes(
        title_text=f"change of {metric_name(metric)}{', percentage points' if unit else ''} (0: no change)",
        domain=DOMAIN,
        zeroline=False,
    )
    return add_frame(
        figure,
        title=_finding(rows, metric) + chance_words(pruning, metric, splits),
        subtitle="Change against the whole model, 95% intervals over documents"
        + ("; grey ticks: random sets of the same size" if drawn else ""),
        caption=caption_of_pruning(pruning),
        plot_height=max(160, _ROW * len(names)),
    )


def split_style(split: str, splits: Sequence[str]) -> tuple[str, str]:
    """Return colour and marker of one of the texts that are drawn."""
    if split in theme.SPLITS:
        return theme.SPLITS[split][:2]
    others = [name for name in splits if name not in theme.SPLITS]
    return theme.LINES[others.index(split) % len(theme.LINES)]


def _offset(lane: int, lanes: int) -> float:
    """Return the position of a lane within its row."""
    return 0.0 if lanes < 2 else -0.2 + 0.4 * lane / (lanes - 1)


def _random_values(
    pruning: Pruning, rows: pl.DataFrame, metric: str
) -> list[tuple[dict[str, Any], list[float]]]:
    """Return every row with the values of random sets of its size."""
    drawn = pruning.random.filter(pl.col("metric") == metric)
    return [
        (row, values)
        for row in rows.iter_rows(named=True)
        if (
            values := drawn.filter(*(pl.col(name) == row[name] for name in ("layer", "neurons", "split")))[
                "value"
            ].to_list()
        )
    ]


DOMAIN = [
    (_NAME_WIDTH - theme.LEFT + 10) / theme.PLOT_WIDTH,
    1 - (_VERDICT_WIDTH - theme.RIGHT) / theme.PLOT_WIDTH,
]
"""The part of the plotting area between the names of the rows and what is written at their right."""


def write_left(figure: go.Figure, name: str, note: str, row: int) -> None:
    """Write a name at the left of a row, numbered from the top, in place, and below it a note unless it is empty."""
    texts = [f"<b>{escape(fitted(sanitize(name), _NAME_WIDTH - 16, theme.SIZE))}</b>"]
    if note:
        texts.append(f'<span style="color:{theme.MUTED}">{escape(note)}</span>')
    figure.add_annotation(
        text="<br>".join(texts),
        x=0,
        xref="paper",
        xanchor="left",
        xshift=14 - theme.LEFT,
        y=row,
        yref="y",
        yanchor="middle",
        align="left",
        showarrow=False,
        font={"size": theme.SIZE},
    )


def write_right(figure: go.Figure, words: str, row: int, verdict: str) -> None:
    """Write words at the right of a row, in place; muted if their verdict is neither better nor worse."""
    figure.add_annotation(
        text=escape(fitted(words, _VERDICT_WIDTH - 10, theme.SIZE)),
        x=1,
        xref="paper",
        xanchor="right",
        xshift=theme.RIGHT - 10,
        y=row,
        yref="y",
        yanchor="middle",
        showarrow=False,
        font={"size": theme.SIZE, "color": theme.INK if verdict in ("better", "worse", "") else theme.MUTED},
    )


def row_axes(figure: go.Figure, n: int) -> None:
    """Lay out the y axis of n rows from top to bottom, in place."""
    figure.update_yaxes(
        range=[n - 0.5, -0.5],
        tickmode="array",
        tickvals=[i + 0.5 for i in range(n - 1)],
        ticktext=[""] * (n - 1),
        ticks="",
        showline=False,
    )


def _finding(rows: pl.DataFrame, metric: str) -> str:
    """Return how many of the drawn effects differ from random sets, corrected for how many are drawn."""
    if rows["verdict"].is_null().all():
        return f"Change of {metric_name(metric)} with each pruned set; no random sets to compare with"
    return f"Change of {metric_name(metric)}: {verdict_counts(rows)}"
