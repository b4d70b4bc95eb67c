"""A small page of the parts that the report and the dashboard share, without either of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page

from txray.web.assets import shared_script, shared_style

PATIENCE = 120_000
PAGE = f"""<!doctype html><html lang="en"><head><style>{shared_style()}
#list {{ height: 400px; }}</style></head><body>
<div class="list" id="list"><table class="neurons" id="neurons" role="grid" tabindex="0">
<thead><tr id="columns"></tr></thead><tbody id="rows"></tbody></table></div>
<article class="detail" id="detail" tabindex="-1"></article><article class="detail" id="other"></article>
<p class="note" id="note">Said on the ground</p>
<script>{shared_script()}
const told = [];
const table = new VirtualTable({{
  view: document.getElementById("list"), table: document.getElementById("neurons"),
  head: document.getElementById("columns"), body: document.getElementById("rows"),
  onPick: (row) => told.push(["pick", row.id]), onEnter: (row) => told.push(["enter", row.id]),
  onSort: (sort) => told.push(["sort", sort.key, sort.falling]),
}});
const detail = new Detail(document.getElementById("detail"));
</script></body></html>"""

RECORD: dict[str, Any] = {
    "title": "Neuron 12",
    "href": "#neuron=12",
    "state": "shared",
    "sentence": "Prefers 3 tokens.",
    "sides": [{"name": "early", "color": "#444444"}, {"name": "late", "color": "#D55E00"}],
    "beyond": [{"name": "late", "color": "#D55E00", "words": ["one", "two"]}],
    "writes": [
        {
            "name": "late",
            "color": "#D55E00",
            "promoted": ["<b>up</b>", "more"],
            "suppressed": ["less"],
            "agreement": "Where it wins, the model predicts one of its tokens 20% of the time.",
        }
    ],
    "tables": [
        {
            "kind": "token",
            "title": "Preferred tokens",
            "note": "2 strongest of 3",
            "unit": "percent",
            "rows": [["one", 0.5, 0.25], ["two", 0, 0.25]],
        }
    ],
    "exemplars": [
        {
            "name": "late",
            "color": "#0072B2",
            "items": [
                {
                    "activation": 0.81234,
                    "output": "next",
                    "probability": 0.25,
                    "label": "pos",
                    "document": "d/1",
                    "position": 2,
                    "before": "not much",
                    "word": "here",
                    "after": "but there",
                    "activations": [None, -0.2, 0.81234, 0.5, 1.0],
                }
            ],
        }
    ],
    "stages": [
        {"name": "late", "color": "#D55E00", "length": 3, "wins": 1200, "mass": 7.123, "share": 0.5},
        {"name": "other", "color": "#444444", "length": 0, "wins": 0, "mass": 0, "share": None},
    ],
}
"""A record that has something of everything."""


@contextmanager
def small_page(browser: Browser, **options: Any) -> Iterator[Page]:
    """The page, open; fails if it complained."""
    context = browser.new_context(viewport={"width": 900, "height": 900}, **options)
    problems: list[str] = []
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text))
    page.set_content(PAGE)
    try:
        yield page
        assert problems == []
    finally:
        context.close()
