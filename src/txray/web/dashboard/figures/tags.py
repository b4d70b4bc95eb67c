"""Activation mass per POS tag against how often the tag occurs, for the neurons that are picked out."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import polars as pl
from numpy.typing import NDArray

from txray.plots.axes import linear_axis
from txray.plots.frame import empty_figure
from txray.plots.text import escape, escape_word, fitted, hover_text, percent, plural, sanitize, text_width
from txray.plots.theme import SIZE
from txray.preferences import StageFolder
from txray.web.dashboard.figures.figure_card import FigureCard
from txray.web.dashboard.filtered_comparison import FilteredComparison, stage_rows
from txray.web.dashboard.results import TagMass

_TOP = 24
_LONGEST = 90
_CORPORA = ("#C9C9C9", "#8A8A8A")


def draw(filtered: FilteredComparison) -> FigureCard:
    """Bars for the corpus, marks for the mass of the neurons that are picked out, before and after.

    Args:
        filtered: what is looked at; without tags in either stage, it says so.

    Raises:
        JobPending: the tags are being read.
    """
    sides = [stage for stage in (filtered.before, filtered.after) if "pos" in stage.feature_types]
    if not sides:
        return _none()
    masses = [filtered.store.mass_by_tag(stage) for stage in sides]
    names = sorted({name for each in masses for name in each.names})
    corpora = {
        stage.name: _over(names, each, each.corpus / each.corpus.sum())
        for stage, each in zip(sides, masses, strict=True)
    }
    order = np.argsort(-sum(corpora.values(), start=np.zeros(len(names))), kind="stable")[:_TOP]
    first, *others = corpora.values()
    same_text = all(np.array_equal(first, other) for other in others)
    shares = {
        stage.name: _shares(filtered, stage, each, names) for stage, each in zip(sides, masses, strict=True)
    }
    ticks = [names[i] for i in order]
    figure = go.Figure()
    for (stage, corpus), color in list(zip(corpora.items(), _CORPORA, strict=False))[: 1 if same_text else 2]:
        whose = "" if same_text else f" of {escape_word(stage)}"
        figure.add_bar(
            name=f"share of the words{whose}",
            x=np.arange(len(order)),
            y=100 * corpus[order],
            marker={"color": color},
            customdata=ticks,
            hovertext=[
                hover_text(sanitize(names[i]), f"{percent(corpus[i])} of the words{whose}") for i in order
            ],
            hoverinfo="text",
        )
    for (stage, share), shift in zip(shares.items(), (-0.16, 0.16), strict=False):
        style = filtered.styles[stage]
        figure.add_scatter(
            name=f"of the mass, {escape_word(stage)}",
            x=np.arange(len(order)) + shift,
            y=100 * share[order],
            customdata=ticks,
            mode="markers",
            marker={
                "color": style.color,
                "symbol": style.symbol,
                "size": 9,
                "line": {"color": "white", "width": 1},
            },
            hovertext=[
                hover_text(
                    f"{sanitize(names[i])} in {sanitize(stage)}",
                    f"{percent(share[i])} of the activation mass",
                )
                for i in order
            ],
            hoverinfo="text",
        )
    under = [fitted(sanitize(tick), _LONGEST, SIZE) for tick in ticks]
    figure.update_xaxes(
        tickmode="array",
        tickvals=np.arange(len(ticks)),
        ticktext=[escape(tick) for tick in under],
        tickangle=-90,
        range=[-0.6, len(ticks) - 0.4],
        showgrid=False,
    )
    values = np.concatenate([share[order] for share in (*corpora.values(), *shares.values())])
    figure.update_yaxes(linear_axis(100 * values, "share", unit="%"))
    figure.update_layout(dragmode=False)
    longest = max((text_width(tick, SIZE) for tick in under), default=0)
    whose = "of the neurons picked out " if filtered.view.is_filtered else ""
    return FigureCard(
        figure,
        f"Activation mass {whose}departs from tag frequency by "
        + ", ".join(
            f"{np.abs(share - corpora[stage]).sum() / 2:.2f} in {sanitize(stage)}"
            for stage, share in shares.items()
        ),
        f"{plural(len(order), 'tag')}, the most frequent first (total variation over all {len(names)}). "
        "Click a tag to pick the neurons whose mass falls mostly on it.",
        pl.DataFrame(
            {
                "tag": names,
                **({"corpus": first} if same_text else {f"corpus {name}": c for name, c in corpora.items()}),
                **{f"mass {name}": share for name, share in shares.items()},
            }
        ),
        below=round(18 + longest),
    )


def _over(names: list[str], tags: TagMass, values: NDArray[np.float64]) -> NDArray[np.float64]:
    result = np.zeros(len(names))
    place = {name: index for index, name in enumerate(names)}
    result[[place[name] for name in tags.names]] = values
    return result


def _shares(
    filtered: FilteredComparison, stage: StageFolder, tags: TagMass, names: list[str]
) -> NDArray[np.float64]:
    """(n_names,) share of the mass of the neurons that are picked out."""
    mask = np.zeros(sum(stage.n_neurons.values()), np.bool_)
    mask[stage_rows(stage, filtered.picked)] = True
    mass = tags.of(mask)
    total = mass.sum()
    return _over(names, tags, np.asarray(mass / total if total else mass, np.float64))


def _none() -> FigureCard:
    figure = go.Figure()
    empty_figure(
        figure, "These stages hold no POS tags. Collect them with '--features token,pos' to see this."
    )
    return FigureCard(figure, "No POS tags", "", pl.DataFrame())
