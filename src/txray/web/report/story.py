"""Sections and their figures as HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from txray.analysis import Comparison
from txray.plots.frame import heading_height, headings
from txray.plots.theme import WIDTH
from txray.web.report.sections import Picture, Section
from txray.web.templates import render

if TYPE_CHECKING:
    import plotly.graph_objects as go


def section_html(
    index: int, section: Section, comparisons: Sequence[Comparison], figures: list[go.Figure]
) -> Markup:
    """Return a section as HTML; its figures are appended to those of the page, and referred to by their indices."""
    paragraphs = [part.strip() for part in re.split(r"\n\s*\n", section.text) if part.strip()]
    first = len(figures)
    figures += [picture.figure for picture in section.figures]
    return render(
        "section.html",
        index=index,
        title=section.title,
        paragraphs=paragraphs,
        figures=[_figure(first + i, picture, comparisons) for i, picture in enumerate(section.figures)],
    )


def _figure(index: int, picture: Picture, comparisons: Sequence[Comparison]) -> dict[str, object]:
    """Return what the template shows of a figure: its title as a heading, its size without it, its caption."""
    layout = picture.figure.layout
    title, subtitle = headings(layout)
    heading = heading_height(layout)
    return {
        "index": index,
        "title": title or "Figure",
        "subtitle": subtitle,
        "heading": heading,
        "pair": next((i for i, pair in enumerate(comparisons) if pair is picture.comparison), None),
        "width": layout.width or WIDTH,
        "height": (layout.height or 450) - heading,
        "caption": picture.caption,
    }
