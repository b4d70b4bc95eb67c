"""How many features the neurons in use in both stages prefer before and after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
import polars as pl
from numpy.typing import NDArray

from txray.analysis.significance.rarefaction import LengthChange, rarefied_lengths
from txray.plots import theme
from txray.plots.axes import linear_axis, log_axis, whole_step
from txray.plots.frame import add_frame, caption_of, empty_figure, feature_noun
from txray.plots.marks import LENGTH_CHANGES
from txray.plots.subjects import checked_subjects
from txray.plots.text import count, escape, escape_word, format_number, hover_text, percent, plural, sanitize
from txray.plots.theme import StageStyle, styles_for
from txray.sampling import even_sample

if TYPE_CHECKING:
    from txray.analysis.comparison import Comparison

NO_SHARED_NEURON = "No neuron is in use in both stages, so no length can change."

_LINES = 300
"""Lines that can still be distinguished."""
_LINEAR_UP_TO = 100
"""Lengths beyond this need a logarithmic axis: tokens, not POS tags."""


@checked_subjects
def length_shift(comparison: Comparison, *, styles: Mapping[str, StageStyle] | None = None) -> go.Figure:
    """Draw the number of features of every neuron in use in both stages, before (top) and after (bottom).

    Every length that occurs has a marker; the larger it is, the more neurons have this length. A line joins the two
    lengths of a neuron; of many neurons an even sample over all changes of length is drawn.

    Args:
        comparison: of two stages.
        styles: of all stages of a report (`stage_styles`).

    Raises:
        UnknownNameError: `styles` lacks a stage.

    Source:
        Rethmeier et al. 2020, section 3 (length shift).
    """
    sides = (comparison.before, comparison.after)
    styles = styles_for([p.stage for p in sides], styles)
    noun = feature_noun(comparison.before.feature_type)
    shared = comparison.neurons.filter(pl.col("state") == "shared")
    lengths = [shared[f"length_{side}"].to_numpy().astype(np.int64) for side in ("before", "after")]
    figure = go.Figure()
    drawn = _sample(lengths[0], lengths[1])
    change = np.sign(lengths[1] - lengths[0])
    for sign, (name, (color, _)) in zip((-1, 1, 0), LENGTH_CHANGES.items(), strict=True):
        rows = drawn[change[drawn] == sign]
        number = int((change == sign).sum())
        if number == 0:
            continue
        figure.add_scatter(
            name=f"{name} {escape(noun)}s in {escape_word(comparison.after.stage)} ({count(number)})",
            x=_broken(lengths[0][rows], lengths[1][rows]),
            y=_broken(np.ones(len(rows)), np.zeros(len(rows))),
            mode="lines",
            line={"color": color, "width": 1, "dash": "solid" if sign else "dot"},
            opacity=float(np.clip(12 / np.sqrt(len(drawn)), 0.5, 0.9)),
            hoverinfo="skip",
        )
    largest = max((int(_tally(side)[1].max()) for side in lengths if len(side)), default=1)
    for p, side, height in zip(sides, lengths, (1, 0), strict=True):
        at, neurons = _tally(side)
        figure.add_scatter(
            x=at,
            y=np.full(len(at), height),
            mode="markers",
            showlegend=False,
            marker={
                "color": styles[p.stage].color,
                "symbol": styles[p.stage].symbol,
                "size": 7 + 19 * np.sqrt((neurons - 1) / max(largest - 1, 1)),
                "opacity": 0.75,
                "line": {"color": "white", "width": 0.7},
            },
            hovertext=[
                hover_text(
                    f"{plural(length, noun)} in {sanitize(p.stage)}",
                    f"{plural(n, 'neuron')} in use in both stages",
                )
                for length, n in zip(at.tolist(), neurons.tolist(), strict=True)
            ],
            hoverinfo="text",
        )
    every = np.concatenate(lengths).astype(np.float64)
    title = f"preferred {noun}s per neuron (length)"
    is_long = bool(len(every)) and float(every.max()) > _LINEAR_UP_TO
    axis = log_axis(every, title) if is_long else linear_axis(every, title)
    if not is_long:
        last = axis["range"][1]
        axis |= {"range": [-0.015 * last, last], "dtick": whole_step(last)}
    figure.update_xaxes(axis)
    figure.update_yaxes(
        tickmode="array", tickvals=[1, 0], ticktext=["", ""], range=[-0.32, 1.32], ticks="", showline=False
    )
    for p, side, height, shift in zip(sides, lengths, (1, 0), (1, -1), strict=True):
        if len(side) == 0:
            continue
        figure.add_annotation(
            text=f"<b>{escape_word(p.stage)}</b>, mean length {format_number(float(side.mean()))}",
            x=0,
            xref="paper",
            xanchor="left",
            y=height,
            yref="y",
            yshift=shift * 34,
            showarrow=False,
            font={"color": styles[p.stage].color, "size": theme.SUBTITLE_SIZE},
        )
    if len(shared) == 0:
        empty_figure(figure, NO_SHARED_NEURON)
    note = (
        ""
        if len(drawn) == len(shared)
        else f"lines: an even sample of {count(len(drawn))} of {count(len(shared))}"
    )
    return add_frame(
        figure,
        title=finding(
            (lengths[0], lengths[1]),
            noun,
            (sanitize(comparison.before.stage), sanitize(comparison.after.stage)),
            _at_equal_wins(comparison, shared),
        ),
        subtitle="Top row before, bottom row after; a line joins the two lengths of a neuron; "
        "the larger a marker, the more neurons have this length",
        caption=caption_of(comparison, note),
    )


def finding(
    lengths: tuple[NDArray[np.int64], NDArray[np.int64]],
    noun: str,
    stages: tuple[str, str],
    equal_wins: LengthChange | None,
) -> str:
    """Return how the mean length of the neurons in use in both stages changed; `noun` and `stages` are plain text.

    `equal_wins` is the same at equal numbers of wins, if it is known.
    """
    (before, after), (first, second) = lengths, stages
    if len(before) == 0:
        return f"No neuron is in use in both {first} and {second}"
    means = float(before.mean()), float(after.mean())
    change = means[1] / means[0] - 1
    which = (
        "The only neuron in use in both stages prefers"
        if len(before) == 1
        else f"{count(len(before))} neurons in use in both stages prefer on average"
    )
    way = f"{percent(abs(change))} {'more' if change > 0 else 'fewer'} {noun}s in {second} than in {first}"
    text = (
        f"{which} {way if change else f'as many {noun}s in {second} as in {first}'} "
        f"(mean length {format_number(means[0])} to {format_number(means[1])})"
    )
    return text if equal_wins is None else f"{text}; {equal_wins.words(noun)}"


def _at_equal_wins(comparison: Comparison, shared: pl.DataFrame) -> LengthChange | None:
    if not len(shared):
        return None
    wins = np.minimum(comparison.before.wins(), comparison.after.wins())
    neurons = shared["neuron"].to_numpy()
    sides = (comparison.before, comparison.after)
    return LengthChange.of(*(rarefied_lengths(side, wins)[neurons] for side in sides))


def _sample(before: NDArray[np.int64], after: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows to draw: evenly spread over the neurons sorted by change of length."""
    order = np.lexsort((np.arange(len(before)), before, after - before))
    return order[even_sample(len(order), _LINES)]


def _tally(lengths: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    values, number = np.unique(lengths, return_counts=True)
    return values, number


def _broken(first: NDArray[np.generic], second: NDArray[np.generic]) -> list[float | None]:
    """Return the coordinates of many lines in one trace: both ends of each, then a gap."""
    return [value for ends in zip(first.tolist(), second.tolist(), strict=True) for value in (*ends, None)]
