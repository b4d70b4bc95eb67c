"""Activation mass per feature against how often the feature occurs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from txray.analysis.tag_mass_test import sampling_noise
from txray.errors import ShapeError, UsageError
from txray.plots.axes import linear_axis
from txray.plots.frame import add_frame, caption, empty_figure, feature_noun
from txray.plots.subjects import checked_subjects
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


@checked_subjects
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
    names = sorted({*early.features, *late.features})
    shares = [
        Shares(
            p.stage,
            *(_shares(over(names, p.features, values)) for values in (p.feature_counts(), p.feature_mass())),
        )
        for p in (early, late)
    ]
    figure, below = traces(names, shares, styles=styles, noun=noun, top=top)
    if len(names) == 0:
        empty_figure(figure, f"No {noun} was counted in these stages.")
    return add_frame(
        figure,
        title=f"{finding(shares, noun, (sampling_noise(early), sampling_noise(late)))} (total variation)",
        subtitle=f"Bars: how often each {noun} occurs. Markers: its share of the activation mass",
        caption=caption(early, late, note=plural(len(names), noun)),
        below=below,
    )


@dataclass(frozen=True, eq=False)
class Shares:
    """Shares of features in one stage.

    Attributes:
        stage: its name.
        corpus: (n_names,) of the words of the corpus.
        mass: (n_names,) of the activation mass; all 0 if there is none.
    """

    stage: str
    corpus: NDArray[np.float64]
    mass: NDArray[np.float64]


def traces(
    names: Sequence[str],
    shares: Sequence[Shares],
    *,
    styles: Mapping[str, StageStyle],
    noun: str,
    top: int,
    compact: bool = False,
) -> tuple[go.Figure, int]:
    """Draw bars, markers and axes, without a frame.

    Args:
        names: of the features.
        shares: of one or two stages.
        styles: of the stages.
        noun: what one feature is called, plain text.
        top: features drawn on their own, the most frequent first.
        compact: for a panel: no axis title, short legend entries, and no mark for all other features; clicks report
            the feature.

    Returns:
        The figure, and the pixels that it needs under the plotting area.
    """
    corpora = [side.corpus for side in shares]
    same_corpus = all(np.array_equal(corpora[0], other) for other in corpora[1:])
    order = np.lexsort((np.arange(len(names)), -sum(corpora, start=np.zeros(len(names)))))
    if compact:
        order = order[:top]
    ticks = [names[i] for i in order[:top]]
    if len(order) > top:
        ticks.append(f"{count(len(order) - top)} others")
    common: dict[str, Any] = {"hoverinfo": "text", "customdata": ticks if compact else None}
    figure = go.Figure()
    for side, color in list(zip(shares, _BARS, strict=False))[: 1 if same_corpus else 2]:
        drawn = _together(side.corpus[order], top)
        whose = "" if same_corpus else f" of {escape_word(side.stage)}"
        figure.add_bar(
            name=f"share of the {'words' if compact else 'corpus'}{whose}",
            x=np.arange(len(drawn)),
            y=100 * drawn,
            marker={"color": color},
            hovertext=[
                hover_text(sanitize(tick), f"{percent(share)} of the words of the corpus")
                for tick, share in zip(ticks, drawn, strict=True)
            ],
            **common,
        )
    for side, shift in zip(shares, (-0.16, 0.16), strict=False):
        drawn, corpus = (_together(values[order], top) for values in (side.mass, side.corpus))
        style = styles[side.stage]
        figure.add_scatter(
            name=f"{'of the mass' if compact else 'share of the activation mass'}, {escape_word(side.stage)}",
            x=np.arange(len(drawn)) + shift,
            y=100 * drawn,
            mode="markers",
            marker={
                "color": style.color,
                "symbol": style.symbol,
                "size": 9,
                "line": {"color": "white", "width": 1},
            },
            hovertext=[
                hover_text(
                    f"{sanitize(tick)} in {sanitize(side.stage)}",
                    f"{percent(of_mass)} of the activation mass",
                    f"{percent(of_corpus)} of the words of the corpus",
                )
                for tick, of_mass, of_corpus in zip(ticks, drawn, corpus, strict=True)
            ],
            **common,
        )
    under = [fitted(sanitize(tick), _LONGEST_TICK, SIZE) for tick in ticks]
    longest = max((text_width(tick, SIZE) for tick in under), default=0)
    tilt = compact or longest > PLOT_WIDTH / max(len(ticks), 1) - 4
    figure.update_xaxes(
        tickmode="array",
        tickvals=np.arange(len(ticks)),
        ticktext=[escape(tick) for tick in under],
        tickangle=-90 if tilt else 0,
        range=[-0.6, len(ticks) - 0.4],
        title_text="" if compact else escape(f"{noun}, ranked by frequency in the corpus"),
        showgrid=False,
    )
    values = np.concatenate(
        [_together(part[order], top) for side in shares for part in (side.corpus, side.mass)]
    )
    title = "share" if compact else "share of all words, of all activation mass"
    figure.update_yaxes(linear_axis(100 * values, title, unit="%"))
    return figure, round((18 if compact else 46) + longest) if tilt else 52


def finding(shares: Sequence[Shares], noun: str, by_chance: Sequence[float] = (), whose: str = "") -> str:
    """Return how far the shares of mass differ from those of words; `noun` is what one feature is called, plain text.

    `by_chance` is the same for every stage if mass followed frequency; `whose` comes after "Activation mass".
    """
    sides = []
    for index, side in enumerate(shares):
        stage = sanitize(side.stage)
        if not side.mass.any():
            sides.append(f"(no mass) in {stage}")
            continue
        chance = f" ({by_chance[index]:.3f} by chance)" if by_chance else ""
        sides.append(f"{np.abs(side.mass - side.corpus).sum() / 2:.3f} in {stage}{chance}")
    return f"Activation mass {whose}differs from {noun} frequency by {', '.join(sides)}"


def over(
    names: Sequence[str], known: Sequence[str] | NDArray[np.object_], values: NDArray[np.generic]
) -> NDArray[np.float64]:
    """Return the (n_names,) values of sorted names, of which some are known; 0 for the others."""
    result = np.zeros(len(names))
    if len(known):
        result[np.searchsorted(np.array(names, dtype=object), np.array(known, dtype=object))] = values
    return result


def _shares(values: NDArray[np.float64]) -> NDArray[np.float64]:
    total = values.sum()
    return values / total if total > 0 else values


def _together(shares: NDArray[np.float64], top: int) -> NDArray[np.float64]:
    """Return the first `top` shares, and the sum of all others as one more."""
    return shares if len(shares) <= top else np.append(shares[:top], shares[top:].sum())
