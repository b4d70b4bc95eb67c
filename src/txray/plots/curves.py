"""Quality by epoch: how training went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
import polars as pl

from txray.errors import ShapeError
from txray.plots import theme
from txray.plots.axes import linear_axis, log_axis, whole_step
from txray.plots.frame import add_frame, empty_figure
from txray.plots.panels import tiled
from txray.plots.subjects import checked_subjects
from txray.plots.text import escape_word, format_number, hover_text, plural, sanitize

_GAP_ACROSS, _GAP_DOWN = 84, 66
"""Pixels between panels, for axis titles and tick labels."""
_BESIDE_HEIGHT, _STACKED_HEIGHT = 420, 230


@dataclass(frozen=True, slots=True)
class _Metric:
    """A column of the curves and how its axis reads."""

    column: str
    name: str
    axis: str
    log: bool = False
    share: bool = False


_LANGUAGE_MODEL = (
    _Metric("perplexity", "perplexity", "perplexity", log=True),
    _Metric("loss", "loss", "cross-entropy (nats per word)"),
)
_CLASSIFIER = (
    _Metric("f1", "F1", "F1", share=True),
    _Metric("accuracy", "accuracy", "accuracy", share=True),
    _Metric("auroc", "area under ROC", "area under the ROC curve", share=True),
    _Metric("loss", "loss", "cross-entropy (nats per document)"),
)


@checked_subjects
def training_curves(curves: pl.DataFrame, *, name: str = "language model") -> go.Figure:
    """Draw perplexity and loss of a language model by epoch, for each split.

    Args:
        curves: columns epoch (0 is the untrained model), split, loss (nats per word), perplexity; values
            that are null or not finite are not drawn.
        name: of the model, for the caption.

    Raises:
        ShapeError: a column is missing.
    """
    return _curves(curves, _LANGUAGE_MODEL, name)


@checked_subjects
def classifier_curves(curves: pl.DataFrame, *, name: str = "classifier") -> go.Figure:
    """Draw F1, accuracy, area under the ROC curve and loss of a classifier by epoch, for each split.

    Args:
        curves: columns epoch (0 is the untrained head), split, loss (nats per document), accuracy, f1,
            auroc; values that are null or not finite are not drawn.
        name: of the model, for the caption.

    Raises:
        ShapeError: a column is missing.
    """
    return _curves(curves, _CLASSIFIER, name)


def _curves(curves: pl.DataFrame, metrics: Sequence[_Metric], name: str) -> go.Figure:
    missing = {"epoch", "split", *(metric.column for metric in metrics)} - set(curves.columns)
    if missing:
        raise ShapeError(
            f"training curves lack the columns {sorted(missing)}; there are {sorted(curves.columns)}"
        )
    columns = 2
    rows = -(-len(metrics) // columns)
    height = _BESIDE_HEIGHT if rows == 1 else _STACKED_HEIGHT
    panels = tiled(len(metrics), columns, height=height, gap_across=_GAP_ACROSS, gap_down=_GAP_DOWN)
    plot_height = round(rows * height + (rows - 1) * _GAP_DOWN)
    splits = _splits(curves)
    figure = go.Figure()
    for index, (metric, panel) in enumerate(zip(metrics, panels, strict=True)):
        suffix = "" if index == 0 else str(index + 1)
        across, down = panel.domains(plot_height)
        for split in splits:
            points = _points(curves, split, metric.column)
            if len(points):
                figure.add_scatter(**_line(points, split, metric), xaxis=f"x{suffix}", yaxis=f"y{suffix}")
        values = _finite(curves, metric.column)[metric.column].to_numpy().astype(np.float64)
        axis = log_axis(values, metric.axis) if metric.log else linear_axis(values, metric.axis)
        if metric.share:
            axis |= {"range": [min(0.4, 0.95 * float(values.min(initial=1.0))), 1.02], "rangemode": "normal"}
        figure.update_layout(
            {
                f"xaxis{suffix}": {**_epochs(curves), "domain": across, "anchor": f"y{suffix}"},
                f"yaxis{suffix}": {**axis, "domain": down, "anchor": f"x{suffix}"},
            }
        )
    # One legend entry per split, whichever panel has its first line.
    named: set[str] = set()
    for trace in figure.data:
        trace.showlegend = trace.name not in named
        named.add(trace.name)
    if not figure.data:
        empty_figure(figure, "No epoch has been measured yet, so there is no curve.")
    return add_frame(
        figure,
        title=_finding(curves, metrics[0], splits),
        subtitle=f"{_listed(metrics)} by epoch; epoch 0 is before training",
        caption=f"{sanitize(name)} · {plural(curves['epoch'].n_unique(), 'epoch')} measured",
        plot_height=plot_height,
    )


def _listed(metrics: Sequence[_Metric]) -> str:
    names = ", ".join(metric.name for metric in metrics[:-1]) + f" and {metrics[-1].name}"
    return names[0].upper() + names[1:]


def _splits(curves: pl.DataFrame) -> list[str]:
    splits = curves["split"].unique(maintain_order=True).to_list()
    return sorted(
        splits, key=lambda split: (list(theme.SPLITS).index(split) if split in theme.SPLITS else 9, split)
    )


def _finite(curves: pl.DataFrame, column: str) -> pl.DataFrame:
    return curves.filter(pl.col(column).is_not_null() & pl.col(column).cast(pl.Float64).is_finite())


def _points(curves: pl.DataFrame, split: str, column: str) -> pl.DataFrame:
    return _finite(curves, column).filter(pl.col("split") == split).select("epoch", column).sort("epoch")


def _line(points: pl.DataFrame, split: str, metric: _Metric) -> dict[str, Any]:
    color, symbol, dash = theme.SPLITS.get(split, (theme.FAINT, "cross", "dashdot"))
    return {
        "name": escape_word(split),
        "legendgroup": escape_word(split),
        "x": points["epoch"].to_numpy(),
        "y": points[metric.column].to_numpy().astype(np.float64),
        "mode": "lines+markers",
        "line": {"color": color, "dash": dash, "width": 2},
        "marker": {"color": color, "symbol": symbol, "size": 7, "maxdisplayed": 60},
        "hovertext": [
            hover_text(f"{sanitize(split)}, epoch {epoch}", f"{metric.name} {format_number(value)}")
            for epoch, value in points.iter_rows()
        ],
        "hoverinfo": "text",
    }


def _epochs(curves: pl.DataFrame) -> dict[str, Any]:
    epochs = curves["epoch"].to_numpy()
    last = int(epochs.max(initial=1))
    return {
        "range": [-0.03 * last, 1.03 * last],
        "tick0": 0,
        "dtick": whole_step(last),
        "title": {"text": "epoch"},
    }


def _finding(curves: pl.DataFrame, metric: _Metric, splits: Sequence[str]) -> str:
    judged = next(
        (split for split in ("validation", "test", *splits) if len(_points(curves, split, metric.column))),
        None,
    )
    if judged is None:
        return f"No {metric.name} has been measured yet"
    points = _points(curves, judged, metric.column)
    # The epoch that everything downstream uses: the best one by loss, the earliest of equals.
    losses = _points(curves, judged, "loss").filter(pl.col("epoch").is_in(points["epoch"].implode()))
    ranked = losses if len(losses) else points
    order = ranked.sort(ranked.columns[1], maintain_order=True)
    epoch = order["epoch"][0]
    by_epoch = dict(points.iter_rows())
    split = sanitize(judged)
    text = f"Best epoch {epoch}, by {split} loss: {split} {metric.name} {format_number(by_epoch[epoch])}"
    first_epoch, first = points.row(0)
    if first_epoch != epoch:
        text += f" (epoch {first_epoch}: {format_number(first)})"
    test = _points(curves, "test", metric.column).filter(pl.col("epoch") == epoch)
    if judged != "test" and len(test):
        text += f", test {metric.name} {format_number(test[metric.column][0])}"
    return text
