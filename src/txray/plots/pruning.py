"""What pruning does: sets beside random ones, train beside test, and curves over the share pruned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
import polars as pl

from txray.errors import UsageError
from txray.plots import theme
from txray.plots.frame import dress
from txray.plots.metrics import (
    VERDICTS,
    caption_of_pruning,
    chosen_rows,
    metric_name,
    scale_of,
    splits_of,
    story,
)
from txray.plots.text import count, figure_of, fitted, hover, markup, plural, visible

if TYPE_CHECKING:
    from txray.pruning.result import Pruning

_ROW = 64
_NAME_WIDTH = 210
_VERDICT_WIDTH = 150
"""Pixels of the names at the left, and of what is said at the right."""


def pruning_effects(pruning: Pruning, metric: str | None = None) -> go.Figure:
    """How a metric changes with each set, with 95 % intervals over documents, beside random sets of as many neurons.

    Args:
        pruning: of `txray.prune`.
        metric: by default F1, perplexity, or the first that there is.

    Raises:
        UnknownNameError: no such metric.
    """
    metric, rows = chosen_rows(pruning, metric)
    splits = splits_of(rows)
    names = rows["set"].unique(maintain_order=True).to_list()
    places = {
        (name, split): i + _offset(j, len(splits))
        for i, name in enumerate(names)
        for j, split in enumerate(splits)
    }
    scale, unit = scale_of(metric)
    figure = go.Figure()
    drawn = _random_values(pruning, rows, metric)
    if drawn:
        figure.add_scatter(
            name="random sets of as many neurons",
            x=[scale * (value - row["unpruned"]) for row, values in drawn for value in values],
            y=[places[row["set"], row["split"]] for row, values in drawn for _ in values],
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
        chosen = rows.filter(pl.col("split") == split)
        color, symbol = _style(split, splits)
        figure.add_scatter(
            name=markup(visible(split)),
            x=(scale * chosen["change"]).to_list(),
            y=[places[name, split] for name in chosen["set"]],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": (scale * (chosen["change_high"] - chosen["change"])).fill_null(0).to_list(),
                "arrayminus": (scale * (chosen["change"] - chosen["change_low"])).fill_null(0).to_list(),
                "thickness": 1.6,
                "width": 5,
                "color": color,
            },
            mode="markers",
            marker={"color": color, "symbol": symbol, "size": 9},
            hovertext=[story(row, metric) for row in chosen.iter_rows(named=True)],
            hoverinfo="text",
        )
    figure.add_vline(0, line={"color": theme.INK, "width": 1})
    last = splits[-1]
    for i, name in enumerate(names):
        at = rows.filter((pl.col("set") == name) & (pl.col("split") == last)).row(0, named=True)
        _name_row(figure, name, f"{plural(at['neurons'], 'neuron')}", i)
        if at["verdict"] is not None:
            _say_right(figure, VERDICTS[at["verdict"]], i, at["verdict"])
    _row_axes(figure, len(names))
    figure.update_xaxes(
        title_text=f"change of {metric_name(metric)}{', percentage points' if unit else ''} (0: as without pruning)",
        domain=_DOMAIN,
        zeroline=False,
    )
    found = rows.filter(pl.col("split") == last)
    return dress(
        figure,
        title=_finding(found, metric, last),
        subtitle="Change against the whole model, 95 % intervals over documents"
        + ("; every grey stroke is a random set of as many neurons" if drawn else ""),
        caption=caption_of_pruning(pruning),
        plot_height=max(160, _ROW * len(names)),
    )


def pruning_gap(pruning: Pruning, metric: str | None = None) -> go.Figure:
    """A metric on each text, for the whole model and each set: how far the model does better on what it was trained on.

    Args:
        pruning: on at least two texts.
        metric: by default F1, perplexity, or the first that there is.

    Raises:
        UnknownNameError: no such metric.
        UsageError: one text only.
    """
    metric, rows = chosen_rows(pruning, metric)
    splits = splits_of(rows)
    if len(splits) < 2:
        raise UsageError(f"pruning gap: scored on {splits} only; prune with the texts train and test")
    first, last = splits[0], splits[-1]
    scale, unit = scale_of(metric)
    table = _both_texts(rows, first, last, scale)
    figure = go.Figure()
    for i, each in enumerate(table):
        figure.add_scatter(
            x=[each.first, each.last],
            y=[i, i],
            mode="lines",
            line={"color": theme.FAINT, "width": 3},
            showlegend=False,
            hoverinfo="skip",
        )
        _name_row(figure, each.name, each.note, i)
        gap = f"gap {each.first - each.last:+.2f}{' points' if unit else ''}"
        _say_right(figure, gap.replace("-", "\u2212"), i, "")
    for split, values in ((first, [each.first for each in table]), (last, [each.last for each in table])):
        color, symbol = _style(split, splits)
        figure.add_scatter(
            name=markup(visible(split)),
            x=values,
            y=list(range(len(table))),
            mode="markers",
            marker={"color": color, "symbol": symbol, "size": 10},
            hovertext=[
                hover(f"{visible(each.name)}, {visible(split)}", f"{figure_of(value)}{unit}")
                for each, value in zip(table, values, strict=True)
            ],
            hoverinfo="text",
        )
    _row_axes(figure, len(table))
    figure.update_xaxes(title_text=metric_name(metric), ticksuffix=unit, domain=_DOMAIN)
    whole = table[0].first - table[0].last
    more = "higher" if whole > 0 else "lower"
    least = min((each for each in table[1:] if not each.random), key=lambda each: abs(each.first - each.last))
    return dress(
        figure,
        title=f"{metric_name(metric)} is {abs(whole):.2f}{' points' if unit else ''} {more} on {visible(first)} than "
        f"on {visible(last)}; nearest after pruning {visible(least.name)}: {abs(least.first - least.last):.2f}",
        subtitle="A smaller gap is better generalisation only where the test score does not fall with it",
        caption=caption_of_pruning(pruning),
        plot_height=max(160, 40 * len(table)),
    )


@dataclass(frozen=True)
class _BothTexts:
    """One row: a metric on two texts."""

    name: str
    note: str
    first: float
    last: float
    random: bool = False


def _both_texts(rows: pl.DataFrame, first: str, last: str, scale: float) -> list[_BothTexts]:
    """The whole model, each set, and behind the first set of each size the mean of random ones."""
    table: list[_BothTexts] = []
    sizes = set()
    for name in rows["set"].unique(maintain_order=True).to_list():
        here, there = (
            rows.filter((pl.col("set") == name) & (pl.col("split") == split)).row(0, named=True)
            for split in (first, last)
        )

        def values(
            column: str, here: dict[str, Any] = here, there: dict[str, Any] = there
        ) -> tuple[float, float]:
            return scale * here[column], scale * there[column]

        if not table:
            table.append(_BothTexts("whole model", "", *values("unpruned")))
        size = here["neurons"]
        table.append(_BothTexts(name, plural(size, "neuron"), *values("value")))
        if here["random_mean"] is not None and size not in sizes:
            sizes.add(size)
            table.append(
                _BothTexts(f"random sets of {count(size)}", "their mean", *values("random_mean"), True)
            )
    return table


_DOMAIN = [
    (_NAME_WIDTH - theme.LEFT + 10) / theme.PLOT_WIDTH,
    1 - (_VERDICT_WIDTH - theme.RIGHT) / theme.PLOT_WIDTH,
]


def _style(split: str, splits: Sequence[str]) -> tuple[str, str]:
    """Colour and marker of a text."""
    if split in theme.SPLITS:
        return theme.SPLITS[split][:2]
    others = [each for each in splits if each not in theme.SPLITS]
    return theme.LINES[others.index(split) % len(theme.LINES)]


def _offset(lane: int, lanes: int) -> float:
    """Where a lane lies within its row."""
    return 0.0 if lanes < 2 else -0.2 + 0.4 * lane / (lanes - 1)


def _random_values(
    pruning: Pruning, rows: pl.DataFrame, metric: str
) -> list[tuple[dict[str, Any], list[float]]]:
    """Each row with the values of random sets of its size."""
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


def _name_row(figure: go.Figure, name: str, note: str, row: int) -> None:
    texts = [f"<b>{markup(fitted(visible(name), _NAME_WIDTH - 16, theme.SIZE))}</b>"]
    if note:
        texts.append(f'<span style="color:{theme.MUTED}">{markup(note)}</span>')
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


def _say_right(figure: go.Figure, words: str, row: int, verdict: str) -> None:
    figure.add_annotation(
        text=markup(fitted(words, _VERDICT_WIDTH - 10, theme.SIZE)),
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


def _row_axes(figure: go.Figure, n: int) -> None:
    figure.update_yaxes(
        range=[n - 0.5, -0.5],
        tickmode="array",
        tickvals=[i + 0.5 for i in range(n - 1)],
        ticktext=[""] * (n - 1),
        ticks="",
        showline=False,
    )


def _finding(rows: pl.DataFrame, metric: str, split: str) -> str:
    told = rows.filter(pl.col("verdict").is_not_null())
    if told.is_empty():
        return f"What pruning does to {metric_name(metric)} on {visible(split)}"
    numbers = [told.filter(pl.col("verdict") == name).height for name in ("better", "worse")]
    return (
        f"Of {plural(len(told), 'set')}, {count(numbers[0])} better than random sets of the same size, "
        f"{count(numbers[1])} worse ({metric_name(metric)}, {visible(split)})"
    )
