"""The figures of the dashboard: their pages, how they are drawn, and which columns a region in them bounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from txray.web.dashboard.figures import (
    features,
    flow,
    layers,
    mass,
    matching,
    neuron,
    scatter,
    shift,
    tags,
    timeline,
    volcano,
)
from txray.web.dashboard.figures.figure_card import FigureCard, Picture
from txray.web.dashboard.filtered_comparison import FilteredComparison
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.url_state import UrlState

__all__ = ["FIGURES", "Figure", "Picture"]


@dataclass(frozen=True)
class Figure:
    """A figure of a page.

    Attributes:
        page: that shows it.
        title: what it is called.
        draw: draws a view.
        brush: columns along the x and y axis that a region bounds; empty ones are not bounded.
        wide: whether it needs the whole width of the page.
        wanted: whether it shows anything for these stages.
    """

    page: str
    title: str
    draw: Callable[[UrlState, ResultStore], Picture]
    brush: tuple[str, str] = ("", "")
    wide: bool = False
    wanted: Callable[[ResultStore], bool] = lambda _: True


def _of_comparison(
    draw: Callable[[FilteredComparison], FigureCard],
) -> Callable[[UrlState, ResultStore], Picture]:
    def picture(view: UrlState, store: ResultStore) -> Picture:
        filtered = FilteredComparison.of(view, store)
        return replace(draw(filtered), caption=filtered.caption)

    return picture


FIGURES: Mapping[str, Figure] = {
    "scatter": Figure("overview", "Distance", _of_comparison(scatter.draw), scatter.BRUSH),
    "volcano": Figure("overview", "Significance", _of_comparison(volcano.draw), volcano.BRUSH),
    "shift": Figure("overview", "Length", _of_comparison(shift.draw), shift.BRUSH),
    "mass": Figure("overview", "Activation mass", _of_comparison(mass.draw), mass.BRUSH),
    "tags": Figure("overview", "Parts of speech", _of_comparison(tags.draw)),
    "flow": Figure("overview", "Knowledge flow", _of_comparison(flow.draw)),
    "layers": Figure(
        "overview",
        "Layers and stages",
        _of_comparison(layers.draw),
        wide=True,
        wanted=lambda store: len(store.catalog.layers) > 1,
    ),
    "neuron": Figure("neuron", "Preferences", neuron.draw, wide=True),
    "timeline": Figure("neuron", "Over the stages", timeline.draw, wide=True),
    "features": Figure("feature", "Over the stages", features.draw, wide=True),
    "matching": Figure("matching", "Pairs", matching.draw, wide=True),
}
"""Name, as in ids and file names -> figure, in their order on the pages."""
