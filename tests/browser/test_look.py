"""Colours of the pages: dark where the system or the page says so, and text that can be read on them."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.parts import RECORD, small_page
from txray.plots.theme import stage_styles

LEAST = 4.5
"""Contrast that text needs at least, by the guidelines for accessible pages (WCAG 2, AA)."""
CONTRASTS = """() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    canvas.canvas.width = canvas.canvas.height = 1;
    const luminance = (rgb) => [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => {
        const c = rgb[i] / 255;
        return sum + weight * (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    }, 0);
    // Colours are laid over one another by the browser itself.
    const painted = (colors) => {
        for (const color of colors) {
            canvas.fillStyle = color;
            canvas.fillRect(0, 0, 1, 1);
        }
        return luminance(canvas.getImageData(0, 0, 1, 1).data);
    };
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest("script")) continue;
        const under = [];
        for (let each = element; each; each = each.parentElement) under.unshift(getComputedStyle(each).backgroundColor);
        const [text, ground] = [painted([...under, getComputedStyle(element).color]), painted(under)];
        const contrast = (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
        found.push([walker.currentNode.data, getComputedStyle(element).color, under.at(-1), contrast]);
    }
    return found;
}"""
ROWS = """() => {
    const row = (index) => ({ id: String(index), faint: index > 1 });
    const show = (row) => node("span", {}, `row ${row.id}`);
    const column = (key, sortable) => ({ key, heading: key, about: "", show, sortable });
    table.use([column("neuron", true), column("x", false)], null);
    table.setRows({ length: 5, at: row });
    table.mark("3");
}"""


def lightness(page: Page) -> float:
    return float(
        page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]")
    )


@pytest.mark.parametrize("system", ["light", "dark"])
def test_a_page_can_choose_its_theme(browser: Browser, system: str) -> None:
    with small_page(browser, color_scheme=system) as page:
        page.evaluate("(record) => detail.show(record)", RECORD)
        assert (lightness(page) < 50) == (system == "dark")
        unforced = page.evaluate("getComputedStyle(document.querySelector('.dot')).filter")
        assert (unforced == "none") == (system == "light")
        for theme in ("dark", "light"):
            page.evaluate("(theme) => { document.documentElement.dataset.theme = theme }", theme)
            assert (lightness(page) < 50) == (theme == "dark")
            assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == theme
            glow = page.evaluate("getComputedStyle(document.querySelector('.dot')).filter")
            assert (glow == "none") == (theme == "light")


def test_both_ways_to_the_dark_are_the_same(browser: Browser) -> None:
    names = ("paper", "ground", "ink", "muted", "line", "accent", "picked", "glow", "lighter")
    seen: list[Any] = []
    for system, theme in (("dark", ""), ("light", "dark"), ("light", ""), ("dark", "light")):
        with small_page(browser, color_scheme=system) as page:
            page.evaluate("(theme) => { document.documentElement.dataset.theme = theme }", theme)
            seen.append(
                [
                    page.evaluate("(n) => getComputedStyle(document.body).getPropertyValue(`--${n}`)", name)
                    for name in names
                ]
            )
    assert seen[0] == seen[1]
    assert seen[2] == seen[3]
    assert not set(seen[0]) & set(seen[2])


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_are_printed_on_white(browser: Browser, theme: str) -> None:
    with small_page(browser, color_scheme=theme) as page:
        page.evaluate("(theme) => { document.documentElement.dataset.theme = theme }", theme)
        page.emulate_media(media="print", color_scheme=theme)  # type: ignore[arg-type]
        assert lightness(page) == 255


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_all_text_can_be_read(browser: Browser, theme: str) -> None:
    (stage,) = RECORD["exemplars"]
    styles = stage_styles(["epoch-01", "epoch-48", "zero-shot", "sup", *"abcdefghij"])
    colors = {style.color for style in styles.values()}
    assert len(colors) >= 8
    record = {
        **RECORD,
        "exemplars": [{**stage, "color": color} for color in sorted(colors)],
    }
    with small_page(browser, color_scheme=theme) as page:
        page.evaluate("(record) => detail.show(record)", record)
        page.evaluate("(record) => { new Detail(document.getElementById('other')).say('Nothing.') }", record)
        page.evaluate(ROWS)
        page.hover("#rows tr[data-index='2']")
        found = page.evaluate(CONTRASTS)
        assert len(found) > 100
        assert [each for each in found if each[-1] < LEAST] == []
