from __future__ import annotations

import itertools

import numpy as np
import pytest

from txray.plots.labels import Box, Label, label_box, place_labels
from txray.plots.text import text_width

AREA = Box(0, 0, 400, 200)


def crowd(n: int, seed: int) -> list[Label]:
    rng = np.random.default_rng(seed)
    return [
        Label("w" * int(rng.integers(1, 12)), float(rng.uniform(0, 400)), float(rng.uniform(0, 200)))
        for _ in range(n)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_no_label_overlaps_a_label_or_a_marker_or_leaves_the_area(seed: int) -> None:
    labels = crowd(80, seed)
    sides = place_labels(labels, area=AREA, size=11, radius=4)
    boxes = {
        index: label_box(label, side, size=11, radius=4)
        for index, (label, side) in enumerate(zip(labels, sides, strict=True))
        if side is not None
    }
    assert 10 < len(boxes) < 80
    for box in boxes.values():
        assert box.left >= 0
        assert box.top >= 0
        assert box.right <= 400
        assert box.bottom <= 200
    for (_, a), (_, b) in itertools.combinations(boxes.items(), 2):
        assert a.right <= b.left or b.right <= a.left or a.bottom <= b.top or b.bottom <= a.top
    for index, box in boxes.items():
        for other, label in enumerate(labels):
            if other != index:
                across = abs(label.x - (box.left + box.right) / 2) < (box.right - box.left) / 2 + 4
                down = abs(label.y - (box.top + box.bottom) / 2) < (box.bottom - box.top) / 2 + 4
                assert not (across and down)


def test_the_important_label_wins() -> None:
    first, second = Label("important", 200, 100), Label("later", 215, 100)
    sides = place_labels([first, second], area=AREA, size=11, radius=4)
    assert sides[0] is not None
    swapped = place_labels([second, first], area=AREA, size=11, radius=4)
    assert swapped[0] == "middle right"


def test_no_room_no_label() -> None:
    assert place_labels(
        [Label("far too long for this", 10, 10)], area=Box(0, 0, 20, 20), size=11, radius=4
    ) == [None]


def test_a_box_holds_its_text() -> None:
    box = label_box(Label("hello", 100, 100), "middle right", size=11, radius=4)
    assert box.right - box.left > text_width("hello", 11)
    assert box.left > 100 + 4 - 2
    mirrored = label_box(Label("hello", 100, 100), "middle left", size=11, radius=4)
    assert mirrored.left == pytest.approx(200 - box.right)
