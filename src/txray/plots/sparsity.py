"""Sparsity curves: a metric against the share of neurons pruned."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
import polars as pl

from txray.errors import UnknownNameError, UsageError
from txray.plots import theme
from txray.plots.frame import add_frame
from txray.plots.metrics import (
    caption_of_pruning,
    chance_words,
    chosen_rows,
    effect_hover_text,
    metric_name,
    scale_of,
    splits_of,
)
from txray.plots.stage_lines import add_band
from txray.plots.subjects import checked_subjects
from txray.plots.text import count, escape, format_number, hover_text, percent, sanitize
from txray.pruning.multiplicity import verdict_counts

if TYPE_CHECKING:
    from txray.pruning.result import Pruning


@checked_subjects
def sparsity_curves(pruning: Pruning, metric: str | None = None, split: str | None = None) -> go.Figure:
    """Draw a metric against the share of neurons pruned, one line per ranking, beside the band of random sets.

    Args:
        pruning: of the sets of `txray.pruning.curve_sets`.
        metric: by default F1, perplexity, or the first that there is.
        split: the last by default.

    Raises:
        UnknownNameError: no such metric or split.
        UsageError: sets without a ranking.
    """
    metric, rows = chosen_rows(pruning, metric)
    splits = splits_of(rows)
    split = split or splits[-1]
    if split not in splits:
        raise UnknownNameError.of("split", split, splits)
    rows = rows.filter((pl.col("split") == split) & (pl.col("ranking") != ""))
    if rows.is_empty():
        raise UsageError(
            "sparsity curves: no set was chosen by a ranking; prune curves ('txray prune curve')"
        )
    scale, unit = scale_of(metric)
    unpruned = scale * float(rows["unpruned"][0])
    figure = go.Figure()
    random = _random(pruning, rows, metric)
    if not random.is_empty():
        x, middle, low, high = (
            np.concatenate(([start], random[name].to_numpy()))
            for name, start in (("share", 0.0), ("mean", unpruned), ("low", unpruned), ("high", unpruned))
        )
        name = f"random sets, lowest to highest of {count(pruning.summary['n_random_sets'])}"
        add_band(figure, low, high, name, at=x)
        figure.add_scatter(
            name="random sets, mean",
            x=x,
            y=middle,
            mode="lines",
            line={"color": theme.FAINT, "dash": "dash", "width": 2},
            hoverinfo="skip",
        )
    rankings = rows["ranking"].unique(maintain_order=True).to_list()
    for ranking, (color, symbol) in zip(rankings, itertools.cycle(theme.LINES), strict=False):
        curve = rows.filter(pl.col("ranking") == ranking).sort("share")
        figure.add_scatter(
            name=escape(sanitize(ranking)),
            x=[0.0, *(100 * curve["share"])],
            y=[unpruned, *(scale * curve["value"])],
            mode="lines+markers",
            line={"color": color, "width": 2},
            marker={"color": color, "symbol": symbol, "size": 8},
            hovertext=[hover_text("whole model", f"{metric_name(metric)} {format_number(unpruned)}{unit}")]
            + [effect_hover_text(row, metric) for row in curve.iter_rows(named=True)],
            hoverinfo="text",
        )
    values = np.concatenate(([unpruned], (scale * rows["value"]).to_numpy(), random["low"], random["high"]))
    figure.update_xaxes(range=[0, 100], ticksuffix="%", title_text="share of the neurons of the layer pruned")
    figure.update_yaxes(**_value_axis(values, metric, unit))
    largest = percent(rows["share"].to_numpy().max())
    where = f"{metric_name(metric)} on {sanitize(split)} with up to {largest} of the neurons pruned"
    compared = bool(rows["verdict"].is_not_null().any())
    return add_frame(
        figure,
        title=(f"{where}: {verdict_counts(rows)}" if compared else where)
        + chance_words(pruning, metric, [split]),
        subtitle="Neurons of the smallest score are pruned first; those without a score last",
        caption=caption_of_pruning(pruning),
    )


def _value_axis(values: np.ndarray[Any, np.dtype[np.float64]], metric: str, unit: str) -> dict[str, Any]:
    low, high = float(values.min()), float(values.max())
    room = max(0.06 * (high - low), 1e-3)
    title = {
        "title_text": f"{metric_name(metric)}{' on a logarithmic scale' if metric == 'perplexity' else ''}"
    }
    if metric == "perplexity":
        return {"type": "log", "range": [np.log10(low) - 0.05, np.log10(high) + 0.05], **title}
    return {"range": [low - room, high + room], "ticksuffix": unit, **title}


def _random(pruning: Pruning, rows: pl.DataFrame, metric: str) -> pl.DataFrame:
    """Return random sets by share: columns share, mean, low, high, in percent if the metric is."""
    scale, _ = scale_of(metric)
    return (
        pruning.random.filter((pl.col("metric") == metric) & (pl.col("split") == rows["split"][0]))
        .join(
            rows.select("layer", "neurons", "share").unique(maintain_order=True),
            on=["layer", "neurons"],
            maintain_order="left",
        )
        .group_by(share=100 * pl.col("share"), maintain_order=True)
        .agg(
            mean=scale * pl.col("value").mean(),
            low=scale * pl.col("value").min(),
            high=scale * pl.col("value").max(),
        )
        .sort("share")
    )
