"""The pictures of the dashboard: on which page each stands, how it is drawn, and what a region in it means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from txray.dashboard.desk import Desk
from txray.dashboard.figures import (
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
from txray.dashboard.figures.drawing import Drawing, Picture
from txray.dashboard.scene import Scene
from txray.dashboard.view import View

__all__ = ["FIGURES", "Figure", "Picture"]


@dataclass(frozen=True)
class Figure:
    """A place for a picture.

    Attributes:
        page: that it stands on.
        title: what it is called.
        draw: draws a view.
        brush: columns along the x and y axis that a region bounds; empty ones are not bounded.
        wide: whether it needs the whole width of the page.
        wanted: whether it shows anything for these stages.
    """

    page: str
    title: str
    draw: Callable[[View, Desk], Picture]
    brush: tuple[str, str] = ("", "")
    wide: bool = False
    wanted: Callable[[Desk], bool] = lambda _: True


def _of_scene(draw: Callable[[Scene], Drawing]) -> Callable[[View, Desk], Picture]:
    def picture(view: View, desk: Desk) -> Picture:
        scene = Scene.of(view, desk)
        return replace(draw(scene), caption=scene.caption)

    return picture


FIGURES: Mapping[str, Figure] = {
    "scatter": Figure("overview", "Distance", _of_scene(scatter.draw), scatter.BRUSH),
    "volcano": Figure("overview", "Significance", _of_scene(volcano.draw), volcano.BRUSH),
    "shift": Figure("overview", "Length", _of_scene(shift.draw), shift.BRUSH),
    "mass": Figure("overview", "Activation mass", _of_scene(mass.draw), mass.BRUSH),
    "tags": Figure("overview", "Parts of speech", _of_scene(tags.draw)),
    "flow": Figure("overview", "Knowledge flow", _of_scene(flow.draw)),
    "layers": Figure(
        "overview",
        "Layers and stages",
        _of_scene(layers.draw),
        wide=True,
        wanted=lambda desk: len(desk.library.layers) > 1,
    ),
    "neuron": Figure("neuron", "Preferences", neuron.draw, wide=True),
    "timeline": Figure("neuron", "Over the stages", timeline.draw, wide=True),
    "features": Figure("feature", "Over the stages", features.draw, wide=True),
    "matching": Figure("matching", "Pairs", matching.draw, wide=True),
}
"""Name, as in ids and file names -> figure, in their order on the pages."""
