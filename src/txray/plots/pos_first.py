"""Figure of how closely activation mass follows parts of speech, beside controls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
import polars as pl

from txray.analysis.tag_mass_test import stages_that_track_tags
from txray.errors import UsageError
from txray.plots import theme
from txray.plots.axes import linear_axis
from txray.plots.frame import add_frame, caption_of_steps
from txray.plots.stage_lines import Series, add_band, add_series, stage_axis, under_stages
from txray.plots.subjects import checked_subjects
from txray.plots.text import count, format_number, plural, sanitize

if TYPE_CHECKING:
    from txray.analysis.timelines import Timeline


@checked_subjects
def pos_first(timeline: Timeline, layer: str | None = None) -> go.Figure:
    """Draw how far the mass per POS tag differs from the tag's frequency, stage by stage, beside its controls.

    If parts of speech were learned first, their line would be below the band of shuffled tags and below the line of
    the untrained model, which is drawn if the first stage is one.

    Args:
        timeline: of stages with `token` and `pos`.
        layer: required only if there are several.

    Raises:
        UsageError: stages without tags, or several layers and none named.
        UnknownNameError: no such layer.
    """
    layer_name, names = timeline.layer(layer), timeline.names
    if not has_parts_of_speech(timeline, layer_name):
        raise UsageError(
            f"pos first: stages {names[:8]} have no parts of speech; collect them with token and pos"
        )
    figure = go.Figure()
    title = "total variation of mass and frequency"
    figure.update_yaxes(draw_pos_first(figure, timeline, layer_name, "", title=title))
    figure.update_xaxes(stage_axis(names))
    return add_frame(
        figure,
        title=_finding(timeline, layer_name),
        subtitle="Difference between the shares of activation mass and of words per POS tag; 0: mass follows frequency",
        caption=caption_of_steps(timeline.steps[layer_name]),
        below=under_stages(names) + 8,
    )


def has_parts_of_speech(timeline: Timeline, layer: str) -> bool:
    """Return whether any stage has POS tags, whose shares of the mass are known."""
    divergence = timeline.stages.filter(pl.col("layer") == layer)["pos_divergence"]
    return bool(divergence.is_not_null().any())


def draw_pos_first(
    figure: go.Figure, timeline: Timeline, layer: str, axis: str, *, title: str
) -> dict[str, Any]:
    """Draw parts of speech and their controls, in place, and return the layout of the y axis."""
    stages, names = timeline.stages.filter(pl.col("layer") == layer), timeline.names
    columns = ("pos_divergence", "pos_shuffled_low", "pos_shuffled", "pos_shuffled_high", "pos_noise")
    observed, low, middle, high, noise = (
        stages[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in columns
    )
    notes = [
        "" if p is None else f"p = {format_number(p)}: share of shuffled tags that the mass tracks as closely"
        for p in stages["pos_p_value"]
    ]
    add_band(figure, low, high, "frequency-matched shuffle of tags, 95% of shuffles", axis)
    for series in (
        Series("frequency-matched shuffle, median", middle, theme.FAINT, "line-ew", "dash"),
        Series("random tags", noise, theme.FAINT, "x", "dot"),
        Series("parts of speech", observed, theme.CHANGED, "circle", "solid", notes),
    ):
        add_series(figure, names, series, axis)
    if "untrained" in names[0].lower():
        figure.add_scatter(
            name="untrained model",
            x=[0, len(names) - 1],
            y=[observed[0], observed[0]],
            mode="lines",
            line={"color": theme.INK, "width": 1, "dash": "dashdot"},
            hoverinfo="skip",
            xaxis=f"x{axis}",
            yaxis=f"y{axis}",
        )
    return linear_axis(np.concatenate((observed, high, noise)), title)


def _finding(timeline: Timeline, layer: str) -> str:
    stages = timeline.stages.filter((pl.col("layer") == layer) & pl.col("pos_divergence").is_not_null())
    closer = int(stages_that_track_tags(stages).sum())
    how = (
        f"significantly better than shuffled tags at {count(closer)} of {plural(len(stages), 'stage')}"
        if closer
        else f"no better than shuffled tags at any of {plural(len(stages), 'stage')}"
    )
    last = stages.row(-1, named=True)
    return (
        f"Activation mass tracks POS {how} (5% FDR); in {sanitize(last['stage'])} it differs from their frequency by "
        f"{last['pos_divergence']:.4f}, from shuffled tags by {last['pos_shuffled']:.4f} "
        f"({last['pos_shuffled_low']:.4f} to {last['pos_shuffled_high']:.4f})"
    )
