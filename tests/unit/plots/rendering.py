"""Figures in a real browser: drawn, and where their texts lie."""

from __future__ import annotations

import itertools
import json

import plotly.graph_objects as go
from playwright.sync_api import Page

BOXES = """selector => [...document.querySelectorAll(selector)].map(node => {
    const box = node.getBoundingClientRect(), all = document.querySelector('.main-svg').getBoundingClientRect();
    return [node.textContent, box.left - all.left, box.top - all.top, box.right - all.left, box.bottom - all.top];
}).filter(([text]) => text.trim())"""

Boxes = list[tuple[str, float, float, float, float]]


def draw(page: Page, figure: go.Figure, font: str | None = None) -> None:
    drawn = json.loads(figure.to_json())
    if font is not None:
        drawn["layout"].setdefault("font", {})["family"] = font
    page.evaluate(
        """async figure => { const place = document.getElementById('figure'); Plotly.purge(place);
        await Plotly.newPlot(place, figure.data, figure.layout); }""",
        drawn,
    )


def boxes(page: Page, selector: str) -> Boxes:
    return [tuple(box) for box in page.evaluate(BOXES, selector)]


def overlapping(first: Boxes, second: Boxes | None = None, *, spare: float = 0.5) -> list[tuple[str, str]]:
    pairs = itertools.combinations(first, 2) if second is None else itertools.product(first, second)
    return [
        (a[0], b[0])
        for a, b in pairs
        if min(a[3], b[3]) - max(a[1], b[1]) > spare and min(a[4], b[4]) - max(a[2], b[2]) > spare
    ]
