"""Figure of an advice on removing neurons: the loss of each tested size, with its bound."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import plotly.graph_objects as go
import polars as pl

from txray.plots import theme
from txray.plots.frame import add_frame
from txray.plots.metrics import metric_name
from txray.plots.subjects import checked_subjects
from txray.plots.text import count, escape, format_number, hover_text, sanitize

if TYPE_CHECKING:
    from txray.pruning.advice import Advice


@checked_subjects
def removal_bounds(advice: Advice) -> go.Figure:
    """Draw the measured loss and its upper bound against the share of neurons removed, beside the promise.

    Args:
        advice: result of `txray.pruning.advise`.
    """
    summary, figure = advice.summary, go.Figure()
    confidence = f"{100 * summary['confidence']:g}%"
    layers = advice.steps["layer"].unique(maintain_order=True).to_list()
    for layer, (color, symbol) in zip(layers, itertools.cycle(theme.LINES), strict=False):
        steps = advice.steps.filter(pl.col("layer") == layer)
        name = escape(sanitize(layer)) if layer else "measured loss"
        figure.add_scatter(
            name=name,
            x=(100 * steps["share"]).to_list(),
            y=steps["loss"].to_list(),
            error_y={
                "type": "data",
                "symmetric": False,
                "array": (steps["bound"] - steps["loss"]).fill_null(0).to_list(),
                "arrayminus": [0.0] * len(steps),
                "thickness": 1.6,
                "width": 6,
                "color": color,
            },
            mode="markers",
            marker={
                "color": color,
                "size": 9,
                "symbol": [symbol if holds else f"{symbol}-open" for holds in steps["holds"]],
            },
            hovertext=[
                hover_text(
                    f"{count(row['removed'])} removed",
                    f"loss {row['loss']:+.3g}, bound {row['bound'] or float('nan'):.3g}",
                    "holds" if row["holds"] else "does not hold",
                )
                for row in steps.iter_rows(named=True)
            ],
            hoverinfo="text",
        )
    limit = summary["lose_at_most"]
    figure.add_hline(limit, line={"color": theme.INK, "width": 1, "dash": "dash"})
    figure.add_annotation(
        text=f"at most {format_number(limit)}", x=0, xref="paper", y=limit, xanchor="left", yanchor="bottom",
        showarrow=False,
    )  # fmt: skip
    figure.update_xaxes(title_text="share of the units removed", ticksuffix="%", rangemode="tozero")
    unit = "percentage points" if summary["unit"] == "points" else "percent"
    figure.update_yaxes(title_text=f"loss of {metric_name(summary['metric'])}, {unit}", rangemode="tozero")
    return add_frame(
        figure,
        title=advice.sentence,
        subtitle=f"Lines end at the upper {confidence} bound; sizes are tested from small to large until one does not "
        "hold (open mark)",
        caption=f"{count(summary['verification_documents'])} documents for verification · "
        f"{count(summary['choosing_documents'])} for choosing · {summary['widths']} widths",
    )
