"""Sorted activation mass per neuron."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from txray.analysis.mass_inequality import half_mass
from txray.errors import UsageError
from txray.plots.axes import log_axis, whole_step
from txray.plots.features import labels, strongest
from txray.plots.frame import add_frame, caption, empty_figure
from txray.plots.subjects import checked_subjects
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

_MAX_POINTS = 2_000
"""Points per stage: twice the pixels of the plotting area."""
_SYMBOLS = 14
_HOVER_FEATURES = 8


Masses = Sequence[tuple[str, NDArray[np.float64]]]
"""Name of each stage, and the (n_neurons,) activation mass of its neurons."""
HoverOfRanks = Callable[[int, NDArray[np.int64], NDArray[np.int64]], list[str]]
"""Makes the hover texts of drawn ranks, from 0, given the index of the stage and its neurons in the order of mass."""


@checked_subjects
def mass_activation(
    preferences: Sequence[Preferences], *, styles: Mapping[str, StageStyle] | None = None
) -> go.Figure:
    """Draw the sorted activation mass of all neurons, one line per stage, on a logarithmic axis.

    Neurons without mass cannot be drawn on a logarithmic axis; the legend says how many neurons have some.

    Args:
        preferences: one per stage, of the same layer and feature type, in the order of the legend.
        styles: of all stages of a report (`stage_styles`), so that a stage looks the same everywhere.

    Raises:
        UsageError: no stage given, or more than the figure can hold.
        UnknownNameError: `styles` lacks a stage.

    Source:
        Rethmeier et al. 2020, section 3 (mass activation).
    """
    if not 1 <= len(preferences) <= MARKS // _MAX_POINTS:
        raise UsageError(
            f"mass activation: {len(preferences)} stages; give 1 to {MARKS // _MAX_POINTS}, "
            "or the figure cannot be read"
        )
    masses = [(side.stage, side.mass()) for side in preferences]
    return add_frame(
        traces(
            masses,
            styles=styles_for([side.stage for side in preferences], styles),
            hover=lambda index, *ranks: _hover_texts(preferences[index], masses[index][1], *ranks),
        ),
        title=finding(masses),
        subtitle="Neurons ranked by activation mass: where a line falls fast, few neurons win most words",
        caption=caption(*preferences),
    )


def traces(
    masses: Masses,
    *,
    styles: Mapping[str, StageStyle],
    hover: HoverOfRanks | None = None,
    compact: bool = False,
) -> go.Figure:
    """Draw lines and axes, without a frame; hover texts are rank and mass unless `hover` makes others.

    `compact` is for a panel: a short axis title, fewer points.
    """
    figure = go.Figure()
    for index, (stage, mass) in enumerate(masses):
        order = np.argsort(-mass, kind="stable")[: int((mass > 0).sum())]
        ranks = even_sample(len(order), _MAX_POINTS // 4 if compact else _MAX_POINTS)
        style = styles[stage]
        figure.add_scatter(
            name=f"{escape_word(stage)} ({count(len(order))} of {plural(len(mass), 'neuron')})",
            x=ranks + 1,
            y=mass[order][ranks],
            mode="lines+markers",
            line={"color": style.color, "width": 2},
            marker={"color": style.color, "symbol": style.symbol, "size": 9, "maxdisplayed": _SYMBOLS},
            # A box drawn in a panel is about mass, whatever points of the line lie in it.
            unselected={"marker": {"opacity": 1}},
            **(
                {"hovertemplate": "rank %{x:,d}: mass %{y:.3g}<extra></extra>"}
                if hover is None
                else {"hovertext": hover(index, order, ranks), "hoverinfo": "text"}
            ),
        )
    n_active = max(int((mass > 0).sum()) for _, mass in masses)
    figure.update_xaxes(
        title_text="neurons, ranked by activation mass",
        range=[0.98 - 0.02 * n_active, 1.02 * n_active + 0.02],
        tick0=0,
        dtick=whole_step(n_active),
        tickformat=",d",
    )
    what = "activation mass" if compact else "activation mass (sum of selected activations)"
    figure.update_yaxes(log_axis(np.concatenate([mass for _, mass in masses]), what))
    if n_active == 0:
        empty_figure(figure, "No neuron has any activation mass: no activation was selected in these stages.")
    return figure


def finding(masses: Masses) -> str:
    """Return how many neurons hold half of the activation mass; of many stages, in the first and the last."""
    ends = list(masses) if len(masses) <= 3 else [masses[0], masses[-1]]
    if not any(mass.any() for _, mass in ends):
        return "No activation mass"
    halves = (
        f"{count(half_mass(mass))} of {plural(len(mass), 'neuron')} in {sanitize(stage)}"
        for stage, mass in ends
    )
    return f"Half of the activation mass is held by {', '.join(halves)}"


def _hover_texts(
    preferences: Preferences, mass: NDArray[np.float64], order: NDArray[np.int64], ranks: NDArray[np.int64]
) -> list[str]:
    features, distinct = (names(preferences, _HOVER_FEATURES) for names in (strongest, labels))
    total = float(mass.sum())
    return [
        hover_text(
            f"neuron {neuron} in {sanitize(preferences.stage)}",
            f"rank {count(rank + 1)} of {count(len(order))}",
            f"activation mass {format_number(mass[neuron])} ({percent(mass[neuron] / total)} of all)",
            f"strongest: {join_words(features[neuron])}",
            f"most distinctive: {join_words(distinct[neuron])}" if distinct[neuron] else "",
        )
        for rank, neuron in zip(ranks.tolist(), order[ranks].tolist(), strict=True)
    ]
