"""Hellinger distance of shared neurons against their Hellinger length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
import polars as pl
from numpy.typing import NDArray

from txray.analysis.findings import NOT_SIGNIFICANT, NOT_TESTED, is_significant
from txray.analysis.shown_distance import (
    CORRECTED,
    PLAIN,
    DistanceShown,
    ShownDistance,
    corrected_words,
    shown_distance,
)
from txray.errors import UsageError
from txray.plots import theme
from txray.plots.axes import log_axis
from txray.plots.features import distinctive, strongest
from txray.plots.frame import add_frame, caption_of, empty_figure, feature_noun
from txray.plots.text import (
    count,
    escape,
    escape_word,
    format_number,
    hover_text,
    join_words,
    plural,
    sanitize,
)
from txray.sampling import even_sample

if TYPE_CHECKING:
    from txray.analysis.comparison import Comparison

_HOVER_FEATURES = 8
_NOISE_POINTS, _NOISE_NEURONS = 24, 8
"""At most so many points of the line of noise, each of at least so many neurons."""
_FULL_STORIES = 5_000
"""Up to so many neurons the hover names the features; beyond, the file would grow out of hand."""

CHANGES: Mapping[str, tuple[str, str]] = {
    "fewer": (theme.SHORTENED, "triangle-down"),
    "more": (theme.LENGTHENED, "triangle-up"),
    "as many": (theme.UNCHANGED, "circle"),
}
"""Change of the number of features -> colour, marker."""


def hellinger_length(comparison: Comparison, *, distance: DistanceShown = "matched") -> go.Figure:
    """Draw Hellinger length against distance, one marker per shared neuron.

    Distances at very different lengths are not to be compared with each other: the figure is for finding
    neurons to look at. Of a tested comparison, the distance at equal numbers of wins is drawn with a line for what the
    same distance would be if nothing had changed, and neurons that are not significant are grey.

    Args:
        comparison: of two stages.
        distance: `matched`, or `plain` for the paper's distance of all wins, which has no such line; of an untested
            comparison it is always the plain one.

    Raises:
        UnknownNameError: no such distance.

    Source:
        Rethmeier et al. 2020, section 3 (Hellinger-length).
    """
    neurons, drawn_distance = comparison.neurons, shown_distance(comparison, distance)
    shared = drawn_distance.rows(neurons.filter(pl.col("state") == "shared"))
    drawn = shared[even_sample(len(shared), theme.MARKS)]
    before, after = sanitize(comparison.before.stage), sanitize(comparison.after.stage)
    noun = feature_noun(comparison.before.feature_type)
    figure = go.Figure()
    length = drawn["hellinger_length"].to_numpy().astype(np.float64)
    height = drawn[drawn_distance.column].to_numpy()
    neuron = drawn["neuron"].to_numpy()
    opacity = crowding(length, height)
    told = hover_texts(comparison, drawn)
    change, change_of_all = _change(drawn), _change(shared)
    sure, sure_of_all = _significant(comparison, drawn), _significant(comparison, shared)
    observed = "" if comparison.tested else ", observed"
    groups = [
        (f"{name} {escape(noun)}s in {escape_word(comparison.after.stage)}{observed}", color, symbol, 8, sign)
        for sign, (name, (color, symbol)) in zip((-1, 1, 0), CHANGES.items(), strict=True)
    ]
    # Below the others, because drawn first.
    for name, color, symbol, size, sign in (
        (NOT_SIGNIFICANT, theme.UNDECIDED, "circle", 5, None),
        *groups,
    ):
        mine = np.flatnonzero(~sure if sign is None else sure & (change == sign))
        if len(mine) == 0:
            continue
        all_of_them = ~sure_of_all if sign is None else sure_of_all & (change_of_all == sign)
        figure.add_scattergl(
            name=f"{name} ({count(int(all_of_them.sum()))})",
            x=length[mine],
            y=height[mine],
            customdata=neuron[mine],
            mode="markers",
            marker={"color": color, "symbol": symbol, "size": size, "opacity": opacity[mine]},
            hovertext=[told[i] for i in mine],
            hoverinfo="text",
        )
    if drawn_distance.null is not None and len(shared):
        figure.add_scatter(**noise_line(shared, drawn_distance))
    figure.update_xaxes(log_axis(length, f"Hellinger length ({noun}s preferred in either stage)"))
    figure.update_yaxes(range=[-0.03, 1.03], dtick=0.2, title_text=drawn_distance.axis)
    counts = comparison.summary
    if len(shared) == 0:
        title = f"No neuron is shared by {before} and {after}"
        empty_figure(
            figure,
            f"No neuron is preferred in both stages, so there is no distance: {count(counts['avoided'])} "
            f"avoided, {count(counts['gained'])} gained, {count(counts['unpreferred'])} in neither.",
        )
    else:
        title = (
            f"{count(len(shared))} of {plural(len(neurons), 'neuron')} are in use in both {before} and {after}: "
            f"{drawn_distance.medians(shared)}"
        )
        title += f"; {comparison.findings.changes}"
    note = "" if len(drawn) == len(shared) else f"an even sample of {count(len(drawn))} neurons is drawn"
    return add_frame(
        figure,
        title=title,
        subtitle="Each mark is a shared neuron: how many features it prefers, and how far its preferences moved",
        caption=caption_of(comparison, note),
    )


def _change(neurons: pl.DataFrame) -> NDArray[np.int64]:
    """(n,) -1 where a neuron prefers fewer features after, 1 where more, 0 where as many."""
    return np.asarray(np.sign((neurons["length_after"] - neurons["length_before"]).to_numpy()))


def crowding(length: NDArray[np.float64], distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) opacity of each mark: the more marks share its place on the screen, the fainter.

    Args:
        length: (n,) on a logarithmic axis.
        distance: (n,) from 0 to 1.
    """
    if len(length) == 0:
        return np.zeros(0)
    columns = np.floor(np.log10(length) * 25).astype(np.int64)
    rows = np.floor(distance * 25).astype(np.int64)
    _, place, size = np.unique(np.stack([columns, rows]), axis=1, return_inverse=True, return_counts=True)
    crowd = size[place.ravel()]
    return np.asarray(np.clip(1.6 / np.sqrt(crowd), 0.15, 0.85))


def _significant(comparison: Comparison, neurons: pl.DataFrame) -> NDArray[np.bool_]:
    """Return the (n,) neurons that are significant; all if the comparison is not tested."""
    if comparison.fdr is None:
        return np.ones(len(neurons), np.bool_)
    rows = neurons.select(significant=is_significant(comparison.fdr))
    return rows["significant"].to_numpy()


def noise_line(shared: pl.DataFrame, distance: ShownDistance) -> dict[str, Any]:
    """Return a trace of what a distance would be if nothing had changed: medians over neurons of about one length.

    Args:
        shared: rows of a comparison's table, with `hellinger_length` and `neuron`.
        distance: that is drawn; one with a reference.
    """
    assert distance.null is not None
    rows = distance.rows(shared).sort("hellinger_length", "neuron")
    parts = np.array_split(np.arange(len(rows)), min(_NOISE_POINTS, max(1, len(rows) // _NOISE_NEURONS)))
    length, null = (rows[name].to_numpy().astype(np.float64) for name in ("hellinger_length", distance.null))
    return {
        "name": "if nothing had changed (median at this length)",
        "x": [float(np.median(length[part])) for part in parts if len(part)],
        "y": [float(np.median(null[part])) for part in parts if len(part)],
        "mode": "lines",
        "line": {"color": theme.INK, "width": 2, "dash": "dash"},
        "hoverinfo": "skip",
    }


def require_tested(comparison: Comparison, figure: str) -> None:
    """Raise if the comparison has not been tested for significance.

    Raises:
        UsageError: it has not been tested.
    """
    if not comparison.tested:
        raise UsageError(
            f"{figure}: comparison {comparison.before.stage!r} -> {comparison.after.stage!r} has not been tested; "
            "give a tested one: comparison.test(), or txray.compare with permutations"
        )


def hover_texts(comparison: Comparison, drawn: pl.DataFrame) -> list[str]:
    """Hover text of some neurons of a comparison, escaped.

    Args:
        comparison: of two stages.
        drawn: rows of its table `neurons`; of many, features are left out.
    """
    before, after = comparison.before, comparison.after
    named = len(drawn) <= _FULL_STORIES
    sides = [strongest(p, _HOVER_FEATURES, comparison.weight) if named else None for p in (before, after)]
    beyond = [distinctive(p, _HOVER_FEATURES) if named else None for p in (before, after)]
    return [
        _story(comparison, row, *(side[row["neuron"]] if side else () for side in (*sides, *beyond)))
        for row in drawn.iter_rows(named=True)
    ]


def _story(
    comparison: Comparison,
    row: Mapping[str, Any],
    top_before: tuple[str, ...],
    top_after: tuple[str, ...],
    beyond_before: tuple[str, ...],
    beyond_after: tuple[str, ...],
) -> str:
    """Hover text of one neuron: `top` features are the strongest, those `beyond` outdo their frequency."""
    before, after = sanitize(comparison.before.stage), sanitize(comparison.after.stage)
    noun = feature_noun(comparison.before.feature_type)
    distance = row["hellinger"]
    lines = [
        ""
        if distance is None
        else f"{PLAIN.name} {distance:.3f} over {plural(row['hellinger_length'], noun)}"
    ]
    if row.get("q_value") is not None:
        tested = shown_distance(comparison)
        lines.append(
            f"{tested.name} {row['distance_matched']:.3f}, {row['distance_null']:.3f} if nothing had changed; "
            f"q-value {format_number(row['q_value'])}"
        )
        lines.append(f"{CORRECTED} (95% interval): {corrected_words(row)}")
    for side, stage, top, beyond in (
        ("before", before, top_before, beyond_before),
        ("after", after, top_after, beyond_after),
    ):
        lines.append(
            f"{stage}: {plural(row[f'length_{side}'], noun)}, activation mass {format_number(row[f'mass_{side}'])}, "
            f"{plural(row[f'wins_{side}'], 'win')}"
        )
        lines.append(f"    {join_words(top)}" if top else "")
        lines.append(f"    beyond frequency: {join_words(beyond)}" if beyond else "")
    state = row["confident_state"] if comparison.tested else f"{row['state']}, {NOT_TESTED}"
    return hover_text(f"neuron {row['neuron']}: {state}", *lines)
