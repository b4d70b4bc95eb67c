"""Everything that is known of several stages, over time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
import polars as pl
from numpy.typing import NDArray

from txray.analysis.shown_distance import CORRECTED, PLAIN
from txray.analysis.states import state_label
from txray.errors import UnknownNameError
from txray.plots import theme
from txray.plots.axes import linear_axis, log_axis
from txray.plots.frame import add_frame, caption_of_steps, feature_noun
from txray.plots.matrix import Side, matrix_figure
from txray.plots.panels import tiled
from txray.plots.pos_first import draw_pos_first, has_parts_of_speech
from txray.plots.stage_lines import Series, add_series, stage_axis, under_stages
from txray.plots.subjects import checked_subjects
from txray.plots.text import count, hover_text, plural, sanitize

if TYPE_CHECKING:
    from txray.analysis.timelines import Timeline

_ACROSS, _HEIGHT, _BETWEEN = 84, 190, 14
"""Pixels between panels side by side, of a panel, and between the names of stages and the panel below."""
_REFERENCES = (
    ("previous", "to the previous stage", "#D55E00", "circle", "solid"),
    ("first", "to the first stage", "#444444", "square", "dash"),
    ("last", "to the last stage", "#0072B2", "triangle-down", "dot"),
)


@dataclass(frozen=True)
class _Panel:
    """Lines on one axis, its title, and its scale."""

    title: str
    series: tuple[Series, ...]
    log: bool = False


@checked_subjects
def timeline(timeline: Timeline, layer: str | None = None, *, score: str | None = None) -> go.Figure:
    """Draw panels over the stages: a score, how far neurons moved, how many changed, lengths, mass, parts of speech.

    Args:
        timeline: of stages.
        layer: required only if there are several.
        score: which of the timeline's scores is drawn; perplexity, or the first one, by default.

    Raises:
        UsageError: several layers and none named.
        UnknownNameError: no such layer or score.
    """
    layer_name, names = timeline.layer(layer), timeline.names
    if score is not None and score not in timeline.scores:
        raise UnknownNameError.of("score of the timeline", score, timeline.scores)
    score_name = score or (
        "perplexity" if "perplexity" in timeline.scores else next(iter(timeline.scores), None)
    )
    panels = list(_panels(timeline, layer_name, score_name))
    with_tags = has_parts_of_speech(timeline, layer_name)
    width = (theme.PLOT_WIDTH - _ACROSS) / 2
    cells = tiled(
        len(panels) + with_tags,
        2,
        height=_HEIGHT,
        gap_across=_ACROSS,
        gap_down=under_stages(names, width) + _BETWEEN,
    )
    plot_height = round(max(cell.top + cell.height for cell in cells))
    figure = go.Figure()
    for number, cell in enumerate(cells):
        axis = "" if number == 0 else str(number + 1)
        if number < len(panels):
            scale = _draw(figure, panels[number], names, axis)
        else:
            scale = draw_pos_first(figure, timeline, layer_name, axis, title="POS mass, total variation")
        across, over = cell.domains(plot_height)
        figure.update_layout(
            {
                f"xaxis{axis}": {**stage_axis(names, width), "domain": across, "anchor": f"y{axis}"},
                f"yaxis{axis}": {**scale, "domain": over, "anchor": f"x{axis}"},
            }
        )
    return add_frame(
        figure,
        title=_finding(timeline, layer_name, score_name),
        subtitle="Panels over the same stages, in order; distances are of the layer, bars are 95% intervals"
        + (", changes tested" if any(step.tested for step in timeline.steps[layer_name]) else ""),
        caption=caption_of_steps(timeline.steps[layer_name]),
        plot_height=plot_height,
        below=under_stages(names, width) + 8,
    )


@checked_subjects
def stage_distances(timeline: Timeline, layer: str | None = None) -> go.Figure:
    """Draw the distance of every two stages: blocks are phases in which neurons keep their preferences.

    Args:
        timeline: of stages.
        layer: required only if there are several.

    Raises:
        UsageError: several layers and none named.
        UnknownNameError: no such layer.
    """
    layer_name, names = timeline.layer(layer), timeline.names
    corrected, plain = timeline.matrix(layer_name), timeline.matrix(layer_name, "hellinger")

    def hover(i: int, j: int) -> str:
        return hover_text(
            f"{sanitize(names[i])}, {sanitize(names[j])}",
            f"{CORRECTED} of the layer {corrected[i, j]:.3f}",
            f"mean {PLAIN.name} of neurons in both stages, of all wins {plain[i, j]:.3f}",
        )

    # A stage does not differ from itself.
    others = np.where(np.eye(len(names), dtype=bool), np.nan, corrected)
    known = np.isfinite(others)
    title = f"No two of {plural(len(names), 'stage')} can be compared"
    if known.any():
        ends = [
            sorted(int(k) for k in np.unravel_index(extreme(others), others.shape))
            for extreme in (np.nanargmin, np.nanargmax)
        ]
        low, high = (f"{corrected[i, j]:.2f} ({sanitize(names[i])}, {sanitize(names[j])})" for i, j in ends)
        pairs = plural(int(np.triu(known, 1).sum()), "pair")
        title = f"{CORRECTED[0].upper()}{CORRECTED[1:]} of {pairs} of stages: {low}"
        if ends[0] != ends[1]:
            title += f" to {high}, median {np.median(corrected[np.triu(known, 1)]):.2f}"
    return matrix_figure(
        corrected if known.any() else others,
        Side("stage", names),
        Side("stage", names),
        measure=CORRECTED,
        hover=hover,
        title=title,
        subtitle="Of the layer, without what small samples add: 0 if nothing changed, 1 if nothing is in common",
        caption=caption_of_steps(timeline.steps[layer_name]),
        empty="No two stages have a neuron with enough wins in common.",
        highest=max(0.05, float(others[known].max(initial=0.0))),
    )


def _draw(figure: go.Figure, panel: _Panel, names: Sequence[str], axis: str) -> dict[str, Any]:
    """Draw the lines of a panel, in place, and return the layout of its y axis."""
    for series in panel.series:
        add_series(figure, names, series, axis, in_legend=len(panel.series) > 1)
    values = np.concatenate(
        [values for series in panel.series for values in (series.values, *(series.interval or ()))]
    )
    if panel.log:
        return log_axis(values, panel.title)
    scale = linear_axis(values, panel.title)
    low = float(np.nanmin(values, initial=0.0))
    # Values near 0 may be negative by chance.
    return scale | {"range": [1.1 * low, scale["range"][1]], "rangemode": "normal"}


def _panels(timeline: Timeline, layer: str, score: str | None) -> Iterator[_Panel]:
    stages = timeline.stages.filter(pl.col("layer") == layer)
    changes = timeline.changes.filter(pl.col("layer") == layer)
    names = timeline.names
    plain = Series("", np.zeros(0), theme.INK, "circle")

    def line(name: str, column: str) -> tuple[Series]:
        return (replace(plain, name=name, values=_numbers(stages[column])),)

    if score is not None:
        values = _numbers(stages[score])
        yield _Panel(score, line(score, score), log=bool((values[np.isfinite(values)] > 0).all()))
    yield _Panel(
        CORRECTED,
        tuple(
            replace(
                Series(
                    f"distance {label}",
                    _over_stages(changes, reference, "hellinger_corrected", names),
                    color,
                    symbol,
                    dash,
                ),
                interval=(
                    _over_stages(changes, reference, "hellinger_corrected_low", names),
                    _over_stages(changes, reference, "hellinger_corrected_high", names),
                ),
            )
            for reference, label, color, symbol, dash in _REFERENCES
        ),
    )
    if changes["changed_share"].is_not_null().any():
        share = _over_stages(changes, "previous", "changed_share", names)
        yield _Panel("neurons that changed, %", (replace(plain, name="changed, %", values=100 * share),))
        yield _Panel(
            "neurons only before, only after",
            tuple(
                Series(
                    state_label(state, tested=True),
                    _over_stages(changes, "previous", f"confident_{state}", names),
                    theme.STATE_COLORS[state],
                    symbol,
                )
                for state, symbol in (("gained", "triangle-up"), ("avoided", "triangle-down"))
            ),
        )
    yield _Panel("neurons in use", line("neurons in use", "preferred"))
    yield _Panel("neurons with half of the mass", line("neurons with half of the mass", "half_mass"))
    noun = f"{feature_noun(timeline.feature_type)}s per neuron in use"
    yield _Panel(noun, line(noun, "length"))


def _numbers(column: pl.Series) -> NDArray[np.float64]:
    return np.asarray(column.cast(pl.Float64).fill_null(np.nan).to_numpy())


def _over_stages(
    changes: pl.DataFrame, reference: str, column: str, names: Sequence[str]
) -> NDArray[np.float64]:
    """Return the (n_stages,) change of every stage from the reference stage; NaN at the reference itself."""
    rows = changes.filter(pl.col("reference") == reference)
    stages = rows["before"] if reference == "last" else rows["after"]
    by_stage = dict(zip(stages, _numbers(rows[column]).tolist(), strict=True))
    return np.array([by_stage.get(name, np.nan) for name in names])


def _finding(timeline: Timeline, layer: str, score: str | None) -> str:
    first, last = (sanitize(name) for name in (timeline.names[0], timeline.names[-1]))
    if score is not None:
        correlation = timeline.correlation(score, layer)
        if correlation.rho is not None:
            return (
                f"From {first} to {last}, {correlation.finding('neuron change', f'{sanitize(score)} change')}"
            )
    stages = timeline.stages.filter(pl.col("layer") == layer)
    return (
        f"{count(stages['preferred'][0])} of {plural(stages['neurons'][0], 'neuron')} are in use in {first}, "
        f"{count(stages['preferred'][-1])} in {last}"
    )
