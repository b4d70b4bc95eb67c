"""How much better a model does on one text than on another, whole and pruned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
import polars as pl
from scipy.stats import norm

from txray.analysis.significance.permutation import q_values
from txray.analysis.states import fdr_label
from txray.errors import UsageError
from txray.plots import theme
from txray.plots.frame import add_frame
from txray.plots.metrics import (
    caption_of_pruning,
    chance_words,
    chosen_rows,
    metric_name,
    scale_of,
    splits_of,
)
from txray.plots.pruning import DOMAIN, row_axes, split_style, write_left, write_right
from txray.plots.subjects import checked_subjects
from txray.plots.text import count, escape, format_number, hover_text, plural, sanitize, signed
from txray.pruning.bootstrap import percentile_interval

if TYPE_CHECKING:
    from txray.pruning.result import Pruning


@checked_subjects
def pruning_gap(pruning: Pruning, metric: str | None = None) -> go.Figure:
    """Draw a metric on two texts, for the whole model and every set: how much better it is on its training text.

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
    table = _both_texts(pruning, rows, first, last, scale)
    figure = go.Figure()
    for i, row in enumerate(table):
        figure.add_scatter(
            x=[row.first, row.last],
            y=[i, i],
            mode="lines",
            line={"color": theme.FAINT, "width": 3},
            showlegend=False,
            hoverinfo="skip",
        )
        write_left(figure, row.name, row.note, i)
        write_right(figure, f"gap {signed(row.gap)}{' points' if unit else ''}", i, "")
    for split, values in ((first, [row.first for row in table]), (last, [row.last for row in table])):
        color, symbol = split_style(split, splits)
        figure.add_scatter(
            name=escape(sanitize(split)),
            x=values,
            y=list(range(len(table))),
            mode="markers",
            marker={"color": color, "symbol": symbol, "size": 10},
            hovertext=[
                hover_text(
                    f"{sanitize(row.name)}, {sanitize(split)}",
                    f"{format_number(value)}{unit}",
                    f"gap {signed(row.gap)}{row.change_words}",
                )
                for row, value in zip(table, values, strict=True)
            ],
            hoverinfo="text",
        )
    row_axes(figure, len(table))
    figure.update_xaxes(title_text=metric_name(metric), ticksuffix=unit, domain=DOMAIN)
    return add_frame(
        figure,
        title=_gap_finding(table, metric, (first, last), unit) + chance_words(pruning, metric, splits),
        subtitle="A smaller gap is better generalisation only where the test score does not fall with it",
        caption=caption_of_pruning(pruning),
        plot_height=max(160, 40 * len(table)),
    )


def _gap_finding(table: Sequence[_BothTexts], metric: str, splits: tuple[str, str], unit: str) -> str:
    """Return the whole model's gap, and how many sets change it more than resampled documents do."""
    whole, points = table[0].gap, " points" if unit else ""
    head = f"{metric_name(metric)} on {sanitize(splits[0])} less on {sanitize(splits[1])}: "
    head += f"whole model {signed(whole)}{points}"
    sets = [row for row in table[1:] if not row.random]
    if len(sets) == 1:
        return f"{head}, after pruning {sanitize(sets[0].name)} {signed(sets[0].gap)}{sets[0].change_words}"
    known = np.array([np.nan if row.p_value is None else row.p_value for row in sets])
    if not np.isfinite(known).any():
        low, high = min(row.gap for row in sets), max(row.gap for row in sets)
        return f"{head}, {signed(low)} to {signed(high)} after pruning {count(len(sets))} sets"
    q_value = q_values(known)
    significant = [row for row, q in zip(sets, q_value, strict=True) if q <= _FDR]
    wider = sum(abs(row.gap) > abs(whole) for row in significant)
    return (
        f"{head}; {count(wider)} of {count(int(np.isfinite(known).sum()))} pruned sets widen the gap significantly, "
        f"{count(len(significant) - wider)} narrow it ({fdr_label(_FDR)})"
    )


_FDR = 0.05


@dataclass(frozen=True)
class _BothTexts:
    """One row: a metric on two texts.

    Attributes:
        name, note: of the row.
        first, last: the metric on either text.
        random: whether it is the mean of random sets.
        change, low, high, p_value: how the gap differs from that of the whole model, with its 95% interval over the
            documents of both texts; None where it is not known.
    """

    name: str
    note: str
    first: float
    last: float
    random: bool = False
    change: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None

    @property
    def gap(self) -> float:
        """Return how much higher the metric is on the first text."""
        return self.first - self.last

    @property
    def change_words(self) -> str:
        """Return the end of a clause: the difference from the gap of the whole model; empty if not known."""
        if self.change is None or self.low is None or self.high is None:
            return ""
        return f" (changed by {signed(self.change)}, 95% interval {signed(self.low)} to {signed(self.high)})"


def _both_texts(
    pruning: Pruning, rows: pl.DataFrame, first: str, last: str, scale: float
) -> list[_BothTexts]:
    """Return the whole model, every set, and behind the first set of every size the mean of random ones."""
    table: list[_BothTexts] = []
    sizes = set()
    for name in rows["set"].unique(maintain_order=True).to_list():
        on_first, on_last = (
            rows.filter((pl.col("set") == name) & (pl.col("split") == split)).row(0, named=True)
            for split in (first, last)
        )
        if not table:
            table.append(
                _BothTexts("whole model", "", scale * on_first["unpruned"], scale * on_last["unpruned"])
            )
        size = on_first["neurons"]
        table.append(
            _BothTexts(
                name,
                plural(size, "neuron"),
                scale * on_first["value"],
                scale * on_last["value"],
                False,
                *_gap_change(pruning, on_first, on_last, scale),
            )
        )
        if on_first["random_mean"] is not None and size not in sizes:
            sizes.add(size)
            means = scale * on_first["random_mean"], scale * on_last["random_mean"]
            table.append(_BothTexts(f"random sets of {count(size)}", "their mean", *means, True))
    return table


def _gap_change(
    pruning: Pruning, on_first: Mapping[str, Any], on_last: Mapping[str, Any], scale: float
) -> tuple[float | None, ...]:
    """Return the change of a gap, the bounds of its 95% interval and its p-value; None where nothing was resampled.

    The documents of the two texts are resampled independently of each other.
    """
    first, last = (
        pruning.resamples.filter(*(pl.col(name) == row[name] for name in ("set", "split", "metric"))).sort(
            "resample"
        )["change"]
        for row in (on_first, on_last)
    )
    change = scale * (on_first["change"] - on_last["change"])
    drawn = scale * (first.to_numpy() - last.to_numpy()) if len(first) == len(last) else np.zeros(0)
    drawn = drawn[np.isfinite(drawn)]
    if len(drawn) < 2:
        return None, None, None, None
    spread = float(drawn.std(ddof=1))
    p_value = float(2 * norm.sf(abs(change) / spread)) if spread > 0 else float(change == 0)
    return (change, *percentile_interval(drawn), p_value)
