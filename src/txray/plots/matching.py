"""Counterparts of neurons in another stage: how many match, how well, and how many would by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
import polars as pl

from txray.analysis.matching.affinity import Affinity
from txray.errors import UsageError
from txray.plots import theme
from txray.plots.features import labels
from txray.plots.frame import add_frame, caption, empty_figure, feature_noun
from txray.plots.matrix import shortened
from txray.plots.subjects import checked_subjects
from txray.plots.text import count, escape, format_number, hover_text, join_words, percent, plural, sanitize
from txray.sampling import even_sample

if TYPE_CHECKING:
    from txray.analysis.matching.match import Matching

_MATCHED, _UNMATCHED = 90, 30
"""Neurons drawn along each axis at most."""
_FEATURES = 6
_LINES = theme.LINES[:4]


@checked_subjects
def matching_curve(*matchings: Matching) -> go.Figure:
    """Draw the share of the possible pairs within each Hellinger distance, and that of shuffled features.

    Args:
        matchings: 1 to 4.

    Raises:
        UsageError: none given, or too many.
    """
    if not 1 <= len(matchings) <= len(_LINES):
        raise UsageError(f"matching curve: {len(matchings)} matchings; give 1 to {len(_LINES)}")
    figure = go.Figure()
    for one, (color, symbol) in zip(matchings, _LINES, strict=False):
        add_curve(figure, one.curve(), one.matched_share, name=_name(one), color=color, symbol=symbol)
    noun = feature_noun(matchings[0].before.feature_type)
    shares = "; ".join(
        f"{_name(one)}: {_share(one.matched_share, one.false_match_rate)}" for one in matchings
    )
    return add_frame(
        figure,
        title=f"Neurons that have a counterpart, by the {noun}s they prefer: {shares}",
        subtitle="Share of neurons paired at a distance or below; the marker is the share that matches",
        caption=_caption(*matchings),
    )


def add_curve(
    figure: go.Figure, curve: pl.DataFrame, share: float, *, name: str, color: str, symbol: str
) -> None:
    """Draw the share of pairs within each distance, the same by chance, and the share that matches, in place.

    `curve` is that of `Matching.curve`, `name` plain text.
    """
    for column, label, dash, width in (
        ("share", name, "solid", 2.5),
        ("null_share", f"{name}, by chance", "dot", 1.5),
    ):
        figure.add_scatter(
            name=escape(label),
            x=curve["distance"].to_numpy(),
            y=100 * curve[column].to_numpy(),
            mode="lines",
            line={"color": color, "dash": dash, "width": width},
            hovertext=[
                hover_text(label, f"{percent(part)} of the pairs within {distance:.2f}")
                for distance, part in zip(curve["distance"], curve[column], strict=True)
            ],
            hoverinfo="text",
        )
    # Thresholds differ with length: the marker is where the curve reaches the share that matches.
    figure.add_scatter(
        x=[float(np.interp(share, curve["share"], curve["distance"]))],
        y=[100 * share],
        mode="markers",
        marker={"color": color, "symbol": symbol, "size": 10},
        showlegend=False,
        hovertext=[hover_text(name, f"{percent(share)} of the pairs match")],
        hoverinfo="text",
    )
    figure.update_xaxes(range=[0, 1.01], dtick=0.2, title_text="Hellinger distance within a pair")
    figure.update_yaxes(range=[0, 103], ticksuffix="%", title_text="share of the possible pairs")


def finding(pairs: pl.DataFrame, share: float, false_match_rate: float, stages: tuple[str, str]) -> str:
    """Return how many neurons have a counterpart, of all possible pairs and by chance; `stages` are sanitized."""
    matched = int((pairs["state"] == "matched").sum())
    verb = "has" if matched == 1 else "have"
    return (
        f"{plural(matched, 'neuron')} of {stages[0]} {verb} a counterpart in {stages[1]}: "
        f"{_share(share, false_match_rate)}"
    )


def _share(share: float, false_match_rate: float) -> str:
    return f"{percent(share)} of the possible pairs; at most {100 * false_match_rate:g}% of the matches by chance"


@checked_subjects
def matching(matching: Matching) -> go.Figure:
    """Draw the affinity of every neuron with every other one, matched pairs on the diagonal, the best first.

    Of many neurons an even sample is drawn: matched pairs by descending affinity, then, after a line, neurons without
    a match.

    Args:
        matching: of two stages.
    """
    pairs = matching.pairs.filter(pl.col("state") == "matched").sort(
        ["affinity", "before"], descending=[True, False]
    )
    pairs_drawn = pairs[even_sample(len(pairs), _MATCHED)]
    alone = [
        matching.pairs.filter(pl.col("state") == f"unmatched-{side}")[side].to_numpy()
        for side in ("before", "after")
    ]
    rows, columns = (
        np.concatenate((pairs_drawn[side].to_numpy(), others[even_sample(len(others), _UNMATCHED)])).astype(
            np.int64
        )
        for side, others in zip(("before", "after"), alone, strict=True)
    )
    figure = go.Figure()
    noun = feature_noun(matching.before.feature_type)
    drawn = len(rows) > 0 and len(columns) > 0
    if drawn:
        affinity = Affinity.of(matching.before, matching.after, matching.weight, matching.min_wins).observed()
        values = affinity[np.ix_(rows, columns)]
        figure.add_heatmap(
            z=values,
            zmin=0,
            zmax=1,
            colorscale=theme.SEQUENTIAL,
            hovertext=_hover_texts(matching, rows, columns, values),
            hoverinfo="text",
            colorbar={"title": {"text": "affinity", "side": "right"}, "thickness": 14, "outlinewidth": 0},
        )
        for line in (figure.add_hline, figure.add_vline):
            line(len(pairs_drawn) - 0.5, line={"color": theme.INK, "width": 1})
    sides = matching.before, matching.after
    unmatched = ", ".join(
        f"{count(len(drawn_rows) - len(pairs_drawn))} of {count(len(others))} unmatched ones of {sanitize(side.stage)}"
        for drawn_rows, others, side in zip((rows, columns), alone, sides, strict=True)
    )
    for axis, side in zip(("x", "y"), (matching.after, matching.before), strict=True):
        figure.update_layout(
            {
                f"{axis}axis": {
                    "title": {"text": escape(f"neurons of {shortened(side.stage)}, matched ones first")},
                    "showticklabels": False,
                    "ticks": "",
                    "showgrid": False,
                }
            }
        )
    figure.update_xaxes(range=[-0.5, max(len(columns), 1) - 0.5])
    figure.update_yaxes(range=[max(len(rows), 1) - 0.5, -0.5])
    if not drawn:
        empty_figure(figure, f"No neuron has the {matching.min_wins} wins that matching requires.")
    return add_frame(
        figure,
        title=finding(
            matching.pairs,
            matching.matched_share,
            matching.false_match_rate,
            (sanitize(sides[0].stage), sanitize(sides[1].stage)),
        ),
        subtitle=f"How much the preferred {noun}s of two neurons overlap (1: the same); matched pairs on the diagonal",
        caption=f"{_caption(matching)} · drawn: {count(len(pairs_drawn))} of {plural(len(pairs), 'pair')}, {unmatched}",
        plot_height=560,
    )


def _name(matching: Matching) -> str:
    return f"{sanitize(matching.before.stage)} → {sanitize(matching.after.stage)}"


def _caption(*matchings: Matching) -> str:
    sides = [side for one in matchings for side in (one.before, one.after)]
    wins = ", ".join(dict.fromkeys(str(one.min_wins) for one in matchings))
    return caption(*sides, note=f"weight {matchings[0].weight} · at least {wins} wins")


def _hover_texts(
    matching: Matching,
    rows: np.ndarray[tuple[int], np.dtype[np.int64]],
    columns: np.ndarray[tuple[int], np.dtype[np.int64]],
    values: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> list[list[str]]:
    """Return hover texts, one per cell; only those of similar neurons name features, to limit the file size."""
    names = [labels(side, _FEATURES) for side in (matching.before, matching.after)]
    heads = [f"{sanitize(side.stage)} " for side in (matching.before, matching.after)]

    def text_of(i: int, j: int, value: float) -> str:
        head = f"{heads[0]}{i}, {heads[1]}{j}: affinity {format_number(value)}"
        return (
            hover_text(head, join_words(names[0][i]), join_words(names[1][j]))
            if value > 0.3
            else hover_text(head)
        )

    return [
        [text_of(i, j, value) for j, value in zip(columns.tolist(), line, strict=True)]
        for i, line in zip(rows.tolist(), values.tolist(), strict=True)
    ]
