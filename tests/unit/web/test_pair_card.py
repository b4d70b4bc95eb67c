"""The card of two stages: one template, in the report as HTML, in the dashboard as components."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest

from tests.builders.hostile import IN_PAGES
from txray.plots.text import sanitize
from txray.web.dashboard.components import from_html
from txray.web.pair_card import pair_card

COUNTS = {"shared": 30, "avoided": 0, "gained": 1, "undecided": 2, "untested": 1_000}


def card(name: str = "unsup", level: int = 3) -> Any:
    return pair_card(
        name,
        "sup",
        f"layer {sanitize(name)}",
        counts=COUNTS,
        tested=True,
        pending=True,
        numbers=[("mean distance", "0.50")],
        sentences=["One neuron.", f"About {sanitize(name)}."],
        level=level,
    )


def elements(component: Any) -> str:
    """Tags with their classes, and text, of components."""
    if isinstance(component, str):
        return component
    if isinstance(component, list):
        return "".join(map(elements, component))
    tag, class_name = type(component).__name__.lower(), getattr(component, "className", "")
    return f"<{tag} {class_name}>{elements(component.children)}</{tag}>"


def elements_of_html(html: str) -> str:
    """The same of HTML."""

    def tag(match: re.Match[str]) -> str:
        class_name = re.search(r'class="([^"]*)"', match[2])
        return f"<{match[1]} {class_name[1] if class_name else ''}>"

    lines = re.sub(r"(?<=>)\n|\n(?=<)|\n$", "", html)
    return unescape(re.sub(r"<(\w+)([^<>]*)>", tag, lines))


@pytest.mark.parametrize("name", ["unsup", *IN_PAGES])
def test_components_are_the_html_of_the_report(name: str) -> None:
    assert elements(from_html(card(name))) == elements_of_html(card(name))


def test_states_are_in_one_order_and_those_without_neurons_are_left_out() -> None:
    *_, bar, _ = from_html(card())
    assert bar.className == "proportions"
    states = [(span.className, span.style["flex"]) for span in bar.children]
    assert states == [("shared", "30"), ("gained", "1"), ("undecided", "2"), ("untested", "1000")]
    labels = re.findall(r'title="(\w+)"><dt><span class="dot \w+"></span>([^<]*)</dt><dd>([^<]*)', card())
    assert labels == [
        ("shared", "in both stages", "30"),
        ("gained", "only after, significant", "1"),
        ("untested", "not yet tested", "1,000"),
    ]


def test_the_heading_has_the_level_of_the_page() -> None:
    assert type(from_html(card(level=2))[0]).__name__ == "H2"
    assert card(level=3).startswith("<h3>")
