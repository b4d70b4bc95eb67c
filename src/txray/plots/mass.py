"""Sorted activation mass per neuron."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from txray.analysis.mass_inequality import half_mass
from txray.errors import UsageError
from txray.plots.axes import log_axis, whole_step
from txray.plots.features import distinctive, strongest
from txray.plots.frame import add_frame, caption, empty_figure
from txray.plots.text import (
    count,
    escape_word,
    format_number,
    hover_text,
    join_words,
    percent,
    plural,
    sanitize,
)
from txray.plots.theme import MARKS, StageStyle, styles_for
from txray.sampling import even_sample

if TYPE_CHECKING:
    from txray.preferences.preferences import Preferences

_POINTS = 2_000
"""Points per stage: twice the pixels of the plotting area."""
_SYMBOLS = 14
_HOVER_FEATURES = 8


def mass_activation(
    preferences: Sequence[Preferences], *, styles: Mapping[str, StageStyle] | None = None
) -> go.Figure:
    """Sorted activation mass per neuron, one series per stage, on a logarithmic axis.

    Neurons without mass are not on a logarithmic axis; the legend tells how many have some.

    Args:
        preferences: one per stage, of the same layer and kind, in the order of the legend.
        styles: of all stages of a report (`stage_styles`), so that a stage looks the same everywhere.

    Raises:
        UsageError: no stage given, or more than the figure can hold.
        UnknownNameError: `styles` lacks a stage.

    Source:
        Rethmeier et al. 2020, section 3 (mass activation).
    """
    if not 1 <= len(preferences) <= MARKS // _POINTS:
        raise UsageError(
            f"mass activation: {len(preferences)} stages; give 1 to {MARKS // _POINTS}, or the figure cannot be read"
        )
    styles = styles_for([p.stage for p in preferences], styles)
    figure = go.Figure()
    masses = [p.mass() for p in preferences]
    for p, mass in zip(preferences, masses, strict=True):
        order = np.argsort(-mass, kind="stable")
        order = order[: int((mass > 0).sum())]
        drawn = even_sample(len(order), _POINTS)
        style = styles[p.stage]
        figure.add_scatter(
            name=f"{escape_word(p.stage)} ({count(len(order))} of {plural(p.n_neurons, 'neuron')})",
            x=drawn + 1,
            y=mass[order][drawn],
            mode="lines+markers",
            line={"color": style.color, "width": 2},
            marker={"color": style.color, "symbol": style.symbol, "size": 9, "maxdisplayed": _SYMBOLS},
            hovertext=_stories(p, mass, order, drawn),
            hoverinfo="text",
        )
    every = np.concatenate(masses)
    most = max(int((mass > 0).sum()) for mass in masses)
    figure.update_xaxes(
        title_text="neurons, by falling activation mass (rank)",
        range=[0.98 - 0.02 * most, 1.02 * most + 0.02],
        tick0=0,
        dtick=whole_step(most),
        tickformat=",d",
    )
    figure.update_yaxes(log_axis(every, "activation mass (sum of selected activations)"))
    if most == 0:
        empty_figure(figure, "No neuron has any activation mass: no activation was selected in these stages.")
    return add_frame(
        figure,
        title=_finding(preferences, masses),
        subtitle="Activation mass of each neuron, sorted: where a line falls fast, few neurons win most words",
        caption=caption(*preferences),
    )


def _finding(preferences: Sequence[Preferences], masses: Sequence[NDArray[np.float64]]) -> str:
    told = list(zip(preferences, masses, strict=True))
    if len(told) > 3:
        told = [told[0], told[-1]]
    if not any(mass.any() for _, mass in told):
        return "No activation mass"
    halves = [
        f"{count(half_mass(mass))} of {plural(p.n_neurons, 'neuron')} in {sanitize(p.stage)}"
        for p, mass in told
    ]
    return "Half of the activation mass is held by " + ", ".join(halves)


def _stories(
    preferences: Preferences, mass: NDArray[np.float64], order: NDArray[np.int64], drawn: NDArray[np.int64]
) -> list[str]:
    features, beyond = (names(preferences, _HOVER_FEATURES) for names in (strongest, distinctive))
    total = float(mass.sum())
    return [
        hover_text(
            f"neuron {order[rank]} in {sanitize(preferences.stage)}",
            f"rank {count(rank + 1)} of {count(len(order))}",
            f"activation mass {format_number(mass[order[rank]])} ({percent(mass[order[rank]] / total)} of all)",
            f"prefers {join_words(features[order[rank]])}",
            f"beyond frequency: {join_words(beyond[order[rank]])}" if beyond[order[rank]] else "",
        )
        for rank in drawn.tolist()
    ]
