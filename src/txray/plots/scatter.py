"""Hellinger distance of shared neurons against their Hellinger length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
import polars as pl
from numpy.typing import NDArray

from txray.plots import theme
from txray.plots.features import strongest
from txray.plots.frame import caption_of, dress, even_sample, kind_noun, log_axis, say
from txray.plots.text import count, figure_of, hover, listed, markup, plural, shown, visible

if TYPE_CHECKING:
    from txray.transfer.comparison import Comparison

_HOVER_FEATURES = 8
_FULL_STORIES = 5_000
"""Up to so many neurons the hover names the features; beyond, the file would grow out of hand."""

CHANGES: Mapping[str, tuple[str, str]] = {
    "fewer": (theme.SHORTENED, "triangle-down"),
    "more": (theme.LENGTHENED, "triangle-up"),
    "as many": (theme.UNCHANGED, "circle"),
}
"""Change of the number of features -> colour, marker."""


def hellinger_length(comparison: Comparison) -> go.Figure:
    """Hellinger length against Hellinger distance, one marker per shared neuron.

    Distances at very different lengths are not to be compared with each other: the figure is for finding
    neurons to look at.

    Args:
        comparison: of two stages.

    Source:
        Rethmeier et al. 2020, section 3 (Hellinger-length).
    """
    neurons = comparison.neurons
    shared = neurons.filter(pl.col("state") == "shared")
    drawn = shared[even_sample(len(shared), theme.MARKS)]
    before, after = visible(comparison.before.stage), visible(comparison.after.stage)
    noun = kind_noun(comparison.before.feature)
    figure = go.Figure()
    length = drawn["hellinger_length"].to_numpy().astype(np.float64)
    distance = drawn["hellinger"].to_numpy()
    neuron = drawn["neuron"].to_numpy()
    opacity = _opacity(length, distance)
    stories = _stories(comparison, drawn)
    change, change_of_all = _change(drawn), _change(shared)
    for sign, (name, (color, symbol)) in zip((-1, 1, 0), CHANGES.items(), strict=True):
        mine = np.flatnonzero(change == sign)
        if len(mine) == 0:
            continue
        number = count(int((change_of_all == sign).sum()))
        figure.add_scattergl(
            name=f"{name} {markup(noun)}s in {shown(comparison.after.stage)} ({number})",
            x=length[mine],
            y=distance[mine],
            customdata=neuron[mine],
            mode="markers",
            marker={"color": color, "symbol": symbol, "size": 8, "opacity": opacity[mine]},
            hovertext=[stories[i] for i in mine],
            hoverinfo="text",
        )
    figure.update_xaxes(log_axis(length, f"Hellinger length ({noun}s preferred in either stage)"))
    figure.update_yaxes(range=[-0.03, 1.03], dtick=0.2, title_text="Hellinger distance (0 same, 1 disjoint)")
    counts = comparison.summary
    if len(shared) == 0:
        title = f"No neuron is shared by {before} and {after}"
        say(
            figure,
            f"No neuron is preferred in both stages, so there is no distance: {count(counts['avoided'])} "
            f"avoided, {count(counts['gained'])} gained, {count(counts['unpreferred'])} in neither.",
        )
    else:
        title = (
            f"{count(len(shared))} of {plural(len(neurons), 'neuron')} stay preferred from {before} to {after}; "
            f"their median Hellinger distance is {np.median(shared['hellinger'].to_numpy()):.2f}"
        )
    note = "" if len(drawn) == len(shared) else f"an even sample of {count(len(drawn))} neurons is drawn"
    return dress(
        figure,
        title=title,
        subtitle="Each mark is a shared neuron: how many features it prefers, and how far its preferences moved",
        caption=caption_of(comparison, note),
    )


def _change(neurons: pl.DataFrame) -> NDArray[np.int64]:
    """(n,) -1 where a neuron prefers fewer features after, 1 where more, 0 where as many."""
    return np.asarray(np.sign((neurons["length_after"] - neurons["length_before"]).to_numpy()))


def _opacity(length: NDArray[np.float64], distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) of each mark: the more marks share its place on the screen, the fainter."""
    if len(length) == 0:
        return np.zeros(0)
    columns = np.floor(np.log10(length) * 25).astype(np.int64)
    rows = np.floor(distance * 25).astype(np.int64)
    _, place, size = np.unique(np.stack([columns, rows]), axis=1, return_inverse=True, return_counts=True)
    crowd = size[place.ravel()]
    return np.asarray(np.clip(1.6 / np.sqrt(crowd), 0.15, 0.85))


def _stories(comparison: Comparison, drawn: pl.DataFrame) -> list[str]:
    before, after = comparison.before, comparison.after
    named = len(drawn) <= _FULL_STORIES
    sides = [strongest(p, _HOVER_FEATURES, comparison.weight) if named else None for p in (before, after)]
    return [
        story(comparison, row, *(side[row["neuron"]] if side else () for side in sides))
        for row in drawn.iter_rows(named=True)
    ]


def story(
    comparison: Comparison, row: Mapping[str, Any], top_before: tuple[str, ...], top_after: tuple[str, ...]
) -> str:
    """Hover text of one neuron of a comparison, escaped.

    Args:
        comparison: of two stages.
        row: of its table `neurons`.
        top_before, top_after: the strongest features; empty to leave them out.
    """
    before, after = visible(comparison.before.stage), visible(comparison.after.stage)
    noun = kind_noun(comparison.before.feature)
    distance = row["hellinger"]
    lines = [
        ""
        if distance is None
        else f"Hellinger distance {distance:.3f} over {plural(row['hellinger_length'], noun)}"
    ]
    for side, stage, top in (("before", before, top_before), ("after", after, top_after)):
        lines.append(
            f"{stage}: {plural(row[f'length_{side}'], noun)}, activation mass {figure_of(row[f'mass_{side}'])}, "
            f"{plural(row[f'wins_{side}'], 'win')}"
        )
        lines.append(f"    {listed(top)}" if top else "")
    return hover(f"neuron {row['neuron']}: {row['state']}", *lines)
