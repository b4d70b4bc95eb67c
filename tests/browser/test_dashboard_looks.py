"""Light and dark, wide and narrow, and for those who cannot see it: the dashboard's looks."""

from __future__ import annotations

from importlib import resources
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Served
from tests.browser.served import PAGES, Visit, drawn, shows_neuron, until
from tests.builders.hostile import IN_PAGES

AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
FIGURES = {
    "/": "scatter",
    "/neuron?neuron=30": "timeline",
    "/feature?word=%s": "features",
    "/matching": "matching",
}
"""Pages -> a figure that stands on each."""
LIGHTNESS = """(plot) => [plot.querySelector(".main-svg"), document.body].map((each) => {
    const style = getComputedStyle(each);
    return Math.max(...(style.backgroundColor.match(/[\\d.]+/g).slice(0, 3).map(Number)));
})"""
OUTSIDE = """() => [...document.querySelectorAll("select, input, button, summary, a")]
    .filter((each) => each.checkVisibility({ visibilityProperty: true }))
    .filter((each) => !each.closest(".skip, nav, .list, .scroll, .plot, .features"))
    .map((each) => [each.outerHTML.slice(0, 120), each.getBoundingClientRect()])
    .filter(([, box]) => box.width > 0 && (box.left < -1 || box.right > document.scrollingElement.clientWidth + 1))
    .map(([html]) => html)"""
SMALL = """() => [...document.querySelectorAll("select, input, button, summary")]
    .filter((each) => each.checkVisibility())
    .filter((each) => !each.closest(".list, .chip, .plot, details:not([open]) > :not(summary)"))
    .filter((each) => { const box = each.getBoundingClientRect(); return box.width < 24 || box.height < 24; })
    .map((each) => each.outerHTML.slice(0, 120))"""


def address_of(served: Served, page: str) -> str:
    """The address of a page, of a word that the stages hold where it needs one."""
    word = (
        served.stages[-1]
        .preferences(layer=served.stages[-1].layers[0], feature_type="token")
        .table(2)["feature"][0]
    )
    return page % quote(word) if "%s" in page else page


def filled(page: Page, path: str) -> None:
    """Wait until everything on a page is there."""
    if page.locator("#warnings .notice").count():
        return
    if path in FIGURES:
        expect(page.locator(f"#{FIGURES[path]}-figure .main-svg").first).to_be_visible()
        expect(page.locator(f"#{FIGURES[path]}-finding")).not_to_have_text("…")
    if path == "/" or "after=old" in path:
        expect(page.locator("#summary .numbers")).to_be_visible()
        expect(page.locator("#neurons-body tr[data-id]").first).to_be_visible()
        for name in ("volcano", "shift", "mass", "tags", "flow"):
            expect(page.locator(f"#{name}-finding")).not_to_have_text("…")
    if path.startswith("/neuron"):
        shows_neuron(page, 30 if "30" in path else 2)
        expect(page.locator("#nearest")).not_to_be_empty()
    if path == "/matching":
        expect(page.locator("#pairs-body tr[data-id]").first).to_be_visible()
    if path == "/sources":
        expect(page.locator("#sources table")).to_be_visible()
    until(page, "document.querySelector('[data-dash-is-loading=true]') === null")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_dark_where_the_system_is(browser: Browser, served: Served, scheme: str) -> None:
    visit = Visit.to(browser, served.url, color_scheme=scheme)
    page = visit.page
    for name in ("scatter", "tags", "mass"):
        figure, body = drawn(page, name).evaluate(LIGHTNESS)
        assert (body < 60) == (figure < 60) == (scheme == "dark"), name
    expect(page.locator("#theme-switch")).to_have_text(
        "Switch to light" if scheme == "dark" else "Switch to dark"
    )
    visit.close()


def test_the_button_darkens_and_is_remembered(browser: Browser, served: Served) -> None:
    visit = Visit.to(browser, served.url, color_scheme="light")
    page = visit.page
    drawn(page, "scatter")
    dark = f"""(() => {{
        const plot = document.querySelector("#scatter-figure .js-plotly-plot");
        return Boolean(plot?.querySelector(".main-svg")) && ({LIGHTNESS})(plot).every((each) => each < 60);
    }})()"""
    page.get_by_role("button", name="Switch to dark").click()
    until(page, dark)
    page.reload()
    until(page, dark)
    page.get_by_role("link", name="Matching", exact=True).click()
    page.go_back()
    page.get_by_role("button", name="Switch to light").click()
    until(page, dark.replace("< 60", "> 200"))
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    visit.close()


@pytest.mark.parametrize("kind", ["served", "layered", "hostile"])
def test_nothing_is_wider_than_a_narrow_screen(
    browser: Browser, request: pytest.FixtureRequest, kind: str
) -> None:
    served: Served = request.getfixturevalue(kind)
    pages = PAGES if kind == "served" else tuple(page.replace("30", "2") for page in PAGES)
    if kind == "layered":
        pages = ("/?before=young&after=old", *pages)
    visit = Visit.to(browser, served.url, viewport={"width": 360, "height": 740}, has_touch=True)
    page = visit.page
    for path in pages:
        if kind == "hostile" and path == "/":
            path = f"/?prefers={quote(IN_PAGES[6])}&top={quote(IN_PAGES[6])}&hellinger=0..1"
        visit.open(address_of(served, path))
        filled(page, path)
        page.wait_for_timeout(100)
        width = page.evaluate(
            "[document.scrollingElement.scrollWidth, document.scrollingElement.clientWidth]"
        )
        assert width == [360, 360], path
        assert page.evaluate(OUTSIDE) == [], path
        assert page.evaluate(SMALL) == [], path
        for link in ("Overview", "Sources"):
            page.get_by_role("link", name=link, exact=True).scroll_into_view_if_needed()
    visit.open(pages[0])
    page.locator(".chip.shared").tap()
    until(page, "location.search.includes('state=shared')")
    page.get_by_role("link", name="Sources", exact=True).tap()
    expect(page.locator("#sources table")).to_be_visible()
    visit.close()


@pytest.mark.parametrize(
    ("kind", "scheme", "width"),
    [
        *(("served", scheme, width) for scheme in ("light", "dark") for width in (1440, 360)),
        ("layered", "light", 360),
        ("layered", "dark", 1440),
    ],
)
def test_no_rule_of_accessibility_is_broken(
    browser: Browser, request: pytest.FixtureRequest, kind: str, scheme: str, width: int
) -> None:
    served: Served = request.getfixturevalue(kind)
    pages = (
        PAGES if kind == "served" else ("/?before=young&after=old", "/?before=old&after=other", "/matching")
    )
    visit = Visit.to(browser, served.url, color_scheme=scheme, viewport={"width": width, "height": 900})
    found: list[Any] = []
    for path in pages:
        visit.open(
            address_of(served, path)
            + ("?state=shared&hellinger=0.2..0.95" if path == "/" and kind == "served" else "")
        )
        filled(visit.page, path)
        if path == "/" and kind == "served":
            visit.page.locator("#tags-card summary").click()
        visit.page.evaluate(AXE)
        result = visit.page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        assert len(result["passes"]) > 15
        found += [
            (path, each["id"], each["impact"], [part["html"][:160] for part in each["nodes"]][:4])
            for each in result["violations"]
            if each["impact"] in ("serious", "critical")
        ]
    assert found == []
    visit.close()
