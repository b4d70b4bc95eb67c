"""How strong the pairs of a matching are, beside the best of all candidates by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
import polars as pl

from txray.plots import theme
from txray.plots.frame import add_frame, empty_figure
from txray.plots.subjects import checked_subjects
from txray.plots.text import count, hover_text, percent, plural, sanitize

if TYPE_CHECKING:
    from txray.analysis.matching.match import Matching
    from txray.analysis.matching.model_matching import ModelMatching


@checked_subjects
def match_strength(matching: Matching | ModelMatching) -> go.Figure:
    """Draw the affinity or correlation of every assigned pair in descending order, beside the best by chance.

    Args:
        matching: of two stages (`txray.match`) or two models (`txray.match_models`).
    """
    assigned = matching.pairs.filter(
        pl.col("state") != "unmatched-after", pl.col("affinity").is_not_null()
    ).sort(["affinity", "before"], descending=[True, False])
    of_stages = not isinstance(matching.before, str)
    names = [
        sanitize(side if isinstance(side, str) else side.stage) for side in (matching.before, matching.after)
    ]
    by = matching.summary.get("by", "preferences")
    measure = "affinity" if of_stages else "size of the correlation"
    figure = go.Figure()
    rank = np.arange(1, len(assigned) + 1)
    figure.add_scatter(
        name="best of all candidates by chance (mean)",
        x=rank,
        y=assigned["chance"].to_numpy(),
        mode="markers",
        marker={"color": theme.MUTED, "symbol": "line-ew-open", "size": 6},
        hoverinfo="skip",
    )
    for state, name, color in (
        ("matched", "match", theme.LINES[0][0]),
        ("unmatched-before", "no match", theme.LINES[1][0]),
    ):
        rows = assigned.with_columns(rank=pl.Series(rank)).filter(pl.col("state") == state)
        figure.add_scatter(
            name=name,
            x=rows["rank"].to_numpy(),
            y=rows["affinity"].to_numpy(),
            mode="markers",
            marker={"color": color, "size": 6},
            hovertext=[
                hover_text(
                    f"{names[0]} {before}" + ("" if after is None else f", {names[1]} {after}"),
                    f"{measure} {affinity:.3f}, best by chance {chance:.3f}, q = {q_value:.2g}",
                )
                for before, after, affinity, chance, q_value in rows.select(
                    "before", "after", "affinity", "chance", "q_value"
                ).iter_rows()
            ],
            hoverinfo="text",
        )
    figure.update_xaxes(title_text="pair, the strongest first", range=[0, max(len(assigned), 1) + 1])
    figure.update_yaxes(title_text=measure, range=[0, 1.03])
    if not len(assigned):
        empty_figure(figure, "There are no neurons to match.")
    matched = int((assigned["state"] == "matched").sum())
    verb = "has" if matched == 1 else "have"
    return add_frame(
        figure,
        title=f"{plural(matched, 'neuron')} of {names[0]} {verb} a counterpart in {names[1]} by {by}: "
        f"{percent(matching.matched_share)} of the possible pairs; at most {100 * matching.false_match_rate:g}% of the "
        "matches by chance",
        subtitle="A pair matches if it is stronger than the best of all candidates by chance, for both of its neurons",
        caption=_caption(matching),
    )


def _caption(matching: Matching | ModelMatching) -> str:
    if isinstance(matching.before, str):
        facts = matching.summary
        observed = "words" if facts["by"] == "activation" else "changes of predictions"
        return (
            f"text {sanitize(facts['corpus'])} · {count(facts['observations'])} {observed} · layers "
            f"{sanitize(facts['layer_before'])} and {sanitize(facts['layer_after'])} · by chance: random mixtures of "
            "the nearest neurons"
        )
    return f"at least {matching.summary['min_wins']} wins · by chance: features exchanged for others of like frequency"
