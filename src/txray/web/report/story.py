"""Sections and their figures as HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from txray.analysis import Comparison
from txray.plots.frame import heading_height, headings
from txray.plots.theme import WIDTH
from txray.web.report.sections import Picture, Section

if TYPE_CHECKING:
    import plotly.graph_objects as go


def section_html(
    index: int, section: Section, comparisons: Sequence[Comparison], figures: list[go.Figure]
) -> str:
    """HTML of a section.

    Args:
        index: of the section, for its address.
        section: what to show.
        comparisons: of the report, in the order of the explorer.
        figures: of the page so far; those of this section are appended, the HTML refers to their places.
    """
    paragraphs = [part.strip() for part in re.split(r"\n\s*\n", section.text) if part.strip()]
    lines = [
        f'<section id="section-{index}" aria-labelledby="section-{index}-heading">',
        f'<h2 id="section-{index}-heading">{escape(section.title)}</h2>',
        *(f'<p class="text">{escape(paragraph)}</p>' for paragraph in paragraphs),
    ]
    for picture in section.figures:
        lines.append(_picture(len(figures), picture, comparisons))
        figures.append(picture.figure)
    return "\n".join([*lines, "</section>"])


def _picture(index: int, picture: Picture, comparisons: Sequence[Comparison]) -> str:
    """HTML of a figure: its title as a heading, a place to draw it, its caption."""
    layout = picture.figure.layout
    title, subtitle = headings(layout)
    heading = heading_height(layout)
    pair = next((i for i, each in enumerate(comparisons) if each is picture.comparison), None)
    clickable = "" if pair is None else f' data-pair="{pair}"'
    size = f"width:{layout.width or WIDTH}px;height:{(layout.height or 450) - heading}px"
    name = f"figure-{index}"
    small = f"<small>{escape(subtitle)}</small>" if subtitle else ""
    lines = [
        f'<figure aria-labelledby="{name}">',
        f'<h3 class="finding" id="{name}">{escape(title or "Figure")}{small}</h3>',
        f'<div class="plot" tabindex="0" role="group" aria-labelledby="{name}">',
        f'<div data-figure="{index}" data-heading="{heading}"{clickable} style="{size}"></div></div>',
        f"<figcaption>{escape(picture.caption)}</figcaption>" if picture.caption else "",
        "</figure>",
    ]
    return "\n".join(line for line in lines if line)
