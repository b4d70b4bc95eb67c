"""What a real browser makes of the figures: nothing overlaps, nothing is cut off, words stay words."""

from __future__ import annotations

import subprocess

import plotly.graph_objects as go
import pytest
from playwright.sync_api import Page

from tests.builders.figures import Text, all_figures
from tests.conftest import missing
from tests.unit.plots.rendering import boxes, draw, overlapping
from txray.plots import neuron_detail

LONG_STAGES = (
    "a stage with quite a long name, epoch 01",
    "unsupervised pretraining on WikiText-2, <i>all</i>",
)
FONTS = ("Liberation Sans", "DejaVu Sans")
"""What Linux shows for the fonts of the theme: with the metrics of Arial, and where there are none of those."""


@pytest.fixture(params=FONTS)
def font(request: pytest.FixtureRequest) -> str:
    known = subprocess.run(["fc-list", ":", "family"], capture_output=True, text=True, check=False).stdout
    if request.param not in known:
        missing(f"no font {request.param!r}")
    return str(request.param)


@pytest.fixture(scope="module")
def figures(text: Text) -> dict[str, go.Figure]:
    first, second = LONG_STAGES
    stages = [text.stage(first, seed=0, silent=[0, 1]), text.stage(second, seed=1, silent=[1, 2])]
    return all_figures(stages, text.tag_of, neuron=7)


@pytest.mark.parametrize(
    "name",
    [
        "mass_activation",
        "pos_frequency",
        "token_frequency",
        "hellinger_length",
        "length_shift",
        "length_shift_pos",
        "states",
        "gained_table",
        "neuron_detail",
        "most_changed",
        "volcano",
        "hellinger_length_tested",
        "states_tested",
        "gained_table_tested",
        "most_changed_tested",
        "timeline",
        "knowledge_flow",
        "stage_distances",
        "pos_first",
        "matching",
        "matching_curve",
        "layer_affinity",
    ],
)
def test_texts_neither_overlap_nor_leave_the_picture(
    name: str, figures: dict[str, go.Figure], page: Page, font: str
) -> None:
    figure = figures[name]
    draw(page, figure, font)
    title = boxes(page, ".gtitle")
    legend = boxes(page, ".legend .legendtext")
    notes = boxes(page, ".annotation-text")
    ticks = boxes(page, ".xtick text, .ytick text")
    axis_titles = boxes(page, ".g-xtitle text, .g-ytitle text, [class*='g-x'][class*='title'] text")
    labels = boxes(page, ".textpoint text, .bartext")
    assert len(title) == 1
    assert notes
    everything = [*title, *legend, *notes, *ticks, *axis_titles, *labels]
    outside = [
        box
        for box in everything
        if box[1] < 0 or box[2] < 0 or box[3] > figure.layout.width or box[4] > figure.layout.height
    ]
    assert outside == []
    assert overlapping(title, [*legend, *notes, *ticks, *labels]) == []
    assert overlapping(legend) == []
    assert overlapping(legend, [*notes, *ticks, *labels]) == []
    assert overlapping(notes, [*ticks, *axis_titles, *labels]) == []
    assert overlapping(ticks, axis_titles) == []
    assert overlapping(notes) == []
    assert overlapping(labels) == []
    across = boxes(page, ".xtick text")
    assert overlapping(across) == []


def test_labels_of_a_crowded_neuron_do_not_overlap(hostile: Text, page: Page, font: str) -> None:
    stages = [hostile.stage(name, seed=seed) for seed, name in enumerate(("a", "b", "c", "d"))]
    figure = neuron_detail(
        [tokens for tokens, _ in stages], 3, pos=[tags for _, tags in stages], token_tags=hostile.tag_of
    )
    draw(page, figure, font)
    labels = boxes(page, ".textpoint text")
    assert len(labels) > 25
    assert overlapping(labels) == []
    assert "<b>bold</b>" in {text for text, *_ in labels}


def test_hostile_words_run_nothing(hostile: Text, page: Page) -> None:
    problems: list[str] = []
    page.on("dialog", lambda dialog: problems.append(dialog.message))
    page.on("pageerror", lambda error: problems.append(str(error)))
    first, second = "<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>"
    stages = [hostile.stage(first, seed=0, silent=[3]), hostile.stage(second, seed=1)]
    for name, figure in all_figures(stages, hostile.tag_of, neuron=1).items():
        draw(page, figure)
        assert page.query_selector("img, svg image[href^='x']") is None, name
        assert first in page.evaluate(
            "document.querySelector('.gtitle').parentNode.textContent + "
            "[...document.querySelectorAll('.annotation-text')].map(n => n.textContent)"
        ), name
    assert problems == []
