"""Labels that never overlap: placed greedily in pixels, the most important first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from txray.plots.text import text_width

Side = Literal["middle right", "middle left", "top center", "bottom center"]
"""Position of a label beside its marker, in plotly's words for `textposition`."""

SIDES: tuple[Side, ...] = ("middle right", "middle left", "top center", "bottom center")

_LINE_HEIGHT = 1.3
_SPARE = 2.0
"""Pixels kept free around a label, because the reader's font is not exactly ours."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels, x to the right, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        """Return whether the two share any area."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def contains(self, other: Box) -> bool:
        """Return whether the other lies within this one."""
        return (
            self.left <= other.left
            and self.top <= other.top
            and other.right <= self.right
            and other.bottom <= self.bottom
        )


@dataclass(frozen=True, slots=True)
class Label:
    """A text beside a marker.

    Attributes:
        text: plain text, one line.
        x, y: centre of the marker, in pixels, y downwards.
        sides: allowed positions, the preferred one first.
    """

    text: str
    x: float
    y: float
    sides: tuple[Side, ...] = SIDES


def place_labels(
    labels: Sequence[Label],
    *,
    area: Box,
    size: float,
    radius: float,
    others: Sequence[tuple[float, float]] = (),
) -> list[Side | None]:
    """Choose a side for each label so that none overlaps another label or any marker.

    Args:
        labels: the most important first; later ones give way.
        area: no label leaves it.
        size: font size in pixels.
        radius: of every marker, in pixels.
        others: centres of markers without a label, in pixels.

    Returns:
        One per label: the side, or None if the label does not fit.
    """
    centres = [*((label.x, label.y) for label in labels), *others]
    markers = [Box(x - radius, y - radius, x + radius, y + radius) for x, y in centres]
    taken: list[Box] = []
    placed: list[Side | None] = []
    for index, label in enumerate(labels):
        elsewhere = markers[:index] + markers[index + 1 :]
        placed.append(None)
        for side in label.sides:
            box = label_box(label, side, size=size, radius=radius)
            if area.contains(box) and not any(box.overlaps(other) for other in (*taken, *elsewhere)):
                taken.append(box)
                placed[-1] = side
                break
    return placed


def label_box(label: Label, side: Side, *, size: float, radius: float) -> Box:
    """Return the rectangle that a label covers on one side of its marker, with some margin; sizes in pixels."""
    width = text_width(label.text, size) * 1.05 + 2 * _SPARE
    height = size * _LINE_HEIGHT
    # Plotly keeps text this far from the centre of a marker.
    gap = radius / 0.8 + 1 - _SPARE
    match side:
        case "middle right":
            left, top = label.x + gap, label.y - height / 2
        case "middle left":
            left, top = label.x - gap - width, label.y - height / 2
        case "top center":
            left, top = label.x - width / 2, label.y - gap - height
        case "bottom center":
            left, top = label.x - width / 2, label.y + gap
    return Box(left, top, left + width, top + height)
