"""Activation mass per feature against how often the feature occurs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from txray.analysis.tag_mass_test import sampling_noise
from txray.errors import ShapeError, UsageError
from txray.plots.axes import linear_axis
from txray.plots.frame import add_frame, caption, empty_figure, feature_noun
from txray.plots.text import (
    count,
    escape,
    escape_word,
    fitted,
    hover_text,
    percent,
    plural,
    sanitize,
    text_width,
)
from txray.plots.theme import PLOT_WIDTH, SIZE, StageStyle, styles_for

if TYPE_CHECKING:
    from txray.preferences.preferences import Preferences

_BARS = ("#C9C9C9", "#8A8A8A")
_LONGEST_TICK = 120
"""Pixels; longer names are truncated under the axis; hover texts have them in full."""


def pos_frequency(
    early: Preferences,
    late: Preferences,
    *,
    top: int = 40,
    styles: Mapping[str, StageStyle] | None = None,
) -> go.Figure:
    """Draw, per POS tag, the share of the corpus and the share of the activation mass, early and late.

    The title has the total variation distance, over all tags, of each stage's mass shares from the tag
    shares of its corpus, and the same if mass followed frequency. Tags beyond `top` are drawn together as one.

    Args:
        early: preferences of the earlier stage, of feature type `pos`.
        late: of the later stage, of the same feature type.
        top: tags drawn on their own, the most frequent first.
        styles: of all stages of a report (`stage_styles`).

    Raises:
        ShapeError: two feature types.
        UsageError: `top` below 1.
        UnknownNameError: `styles` lacks a stage.

    Source:
        Rethmeier et al. 2020, section 3 (frequency analysis).
    """
    if early.feature_type != late.feature_type:
        raise ShapeError(
            f"stage {early.stage!r} has feature type {early.feature_type!r}, stage {late.stage!r} "
            f"{late.feature_type!r}; give the same"
        )
    if top < 1:
        raise UsageError(f"frequency analysis: top={top}; draw at least 1 feature")
    styles = styles_for([early.stage, late.stage], styles)
    noun = feature_noun(early.feature_type)
    names = np.array(sorted({*early.features, *late.features}), dtype=object)
    corpora = [_shares(p, p.feature_counts(), names) for p in (early, late)]
    masses = [_shares(p, p.feature_mass(), names) for p in (early, late)]
    same_corpus = np.array_equal(corpora[0], corpora[1])
    order = np.lexsort((np.arange(len(names)), -(corpora[0] + corpora[1])))
    ticks = [*names[order[:top]].tolist()]
    if len(names) > top:
        ticks.append(f"{count(len(names) - top)} others")
    figure = go.Figure()
    for p, share, color in list(zip((early, late), corpora, _BARS, strict=True))[: 1 if same_corpus else 2]:
        drawn = _together(share[order], top)
        whose = "" if same_corpus else f" of {escape_word(p.stage)}"
        figure.add_bar(
            name=f"share of the corpus{whose}",
            x=np.arange(len(drawn)),
            y=100 * drawn,
            marker={"color": color},
            hovertext=[
                hover_text(sanitize(tick), f"{percent(s)} of the words of the corpus")
                for tick, s in zip(ticks, drawn, strict=True)
            ],
            hoverinfo="text",
        )
    for p, share, corpus, shift in zip((early, late), masses, corpora, (-0.16, 0.16), strict=True):
        drawn = _together(share[order], top)
        figure.add_scatter(
            name=f"share of the activation mass, {escape_word(p.stage)}",
            x=np.arange(len(drawn)) + shift,
            y=100 * drawn,
            mode="markers",
            marker={
                "color": styles[p.stage].color,
                "symbol": styles[p.stage].symbol,
                "size": 9,
                "line": {"color": "white", "width": 1},
            },
            hovertext=[
                hover_text(
                    f"{sanitize(tick)} in {sanitize(p.stage)}",
                    f"{percent(s)} of the activation mass",
                    f"{percent(c)} of the words of the corpus",
                )
                for tick, s, c in zip(ticks, drawn, _together(corpus[order], top), strict=True)
            ],
            hoverinfo="text",
        )
    under = [fitted(sanitize(tick), _LONGEST_TICK, SIZE) for tick in ticks]
    longest = max((text_width(tick, SIZE) for tick in under), default=0)
    tilt = longest > PLOT_WIDTH / max(len(ticks), 1) - 4
    figure.update_xaxes(
        tickmode="array",
        tickvals=np.arange(len(ticks)),
        ticktext=[escape(tick) for tick in under],
        tickangle=-90 if tilt else 0,
        range=[-0.6, len(ticks) - 0.4],
        title_text=escape(f"{noun}, ranked by frequency in the corpus"),
        showgrid=False,
    )
    drawn_values = np.concatenate([_together(share[order], top) for share in (*corpora, *masses)])
    figure.update_yaxes(
        linear_axis(100 * drawn_values, "share of all words, of all activation mass", unit="%")
    )
    if len(names) == 0:
        empty_figure(figure, f"No {noun} was counted in these stages.")
    return add_frame(
        figure,
        title=_finding(early, late, masses, corpora, noun),
        subtitle=f"Bars: how often each {noun} occurs. Markers: how much of the activation mass falls on it",
        caption=caption(early, late, note=plural(len(names), noun)),
        below=round(46 + longest) if tilt else 52,
    )


def _shares(p: Preferences, amounts: NDArray[np.generic], names: NDArray[np.object_]) -> NDArray[np.float64]:
    """Return the (n_names,) share of each name; 0 for names that this stage lacks."""
    result = np.zeros(len(names))
    if len(p.features):
        result[np.searchsorted(names, p.features)] = amounts
    total = result.sum()
    return result / total if total > 0 else result


def _together(shares: NDArray[np.float64], top: int) -> NDArray[np.float64]:
    """Return the first `top` shares, and the sum of all others as one more."""
    return shares if len(shares) <= top else np.append(shares[:top], shares[top:].sum())


def _finding(
    early: Preferences,
    late: Preferences,
    masses: list[NDArray[np.float64]],
    corpora: list[NDArray[np.float64]],
    noun: str,
) -> str:
    sides = [
        f"{np.abs(mass - corpus).sum() / 2:.3f} in {sanitize(p.stage)} ({sampling_noise(p):.3f} by chance)"
        if mass.any()
        else f"(no mass) in {sanitize(p.stage)}"
        for p, mass, corpus in zip((early, late), masses, corpora, strict=True)
    ]
    return f"Activation mass differs from {noun} frequency by {sides[0]}, {sides[1]} (total variation)"
