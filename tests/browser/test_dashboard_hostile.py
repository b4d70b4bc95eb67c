"""Words, names and labels that would run or deceive are shown as what they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import Served
from tests.browser.served import Visit, drawn, exported, listed, point_at, ready, shows_neuron
from tests.browser.test_dashboard_saved import saved, saves
from tests.builders.hostile import IN_PAGES
from txray.plots.text import sanitize
from txray.preferences import Stage

SEEN = [sanitize(word) for word in IN_PAGES]
"""The words as they are to be read."""


@pytest.fixture
def threat(context: BrowserContext, hostile: Served) -> Iterator[Visit]:
    opened = Visit.within(context, hostile.url)
    yield opened
    opened.close()


def harmless(page: Page) -> None:
    """Fail where a word has become an element."""
    assert (
        page.locator(
            "img:not(.js-plotly-plot img), a[href^='javascript' i], [onmouseover], main script"
        ).count()
        == 0
    )
    assert not page.evaluate("'hacked' in window")


def missing(text: str, words: list[str] = SEEN) -> list[str]:
    """Words that are not in a text, whatever its line breaks."""
    return [word for word in words if re.sub(r"\s+", "", word) not in re.sub(r"\s+", "", text)]


def names(hostile: Served) -> list[str]:
    return [sanitize(stage.name) for stage in hostile.stages]


def layer_of(stage: Stage) -> str:
    return stage.layers[0]


def test_the_overview_shows_hostile_words_as_text(threat: Visit, hostile: Served) -> None:
    page = threat.page
    listed(page)
    page.evaluate("document.getElementById('neurons-view').style.height = '5000px'")
    expect(page.locator("#neurons-body tr[data-id]")).to_have_count(24)
    assert missing(page.locator("#neurons-body").text_content() or "") == []
    assert (
        missing(
            page.inner_text("#summary"),
            [names(hostile)[1], names(hostile)[2], sanitize(layer_of(hostile.stages[0]))],
        )
        == []
    )
    assert missing(" ".join(page.locator("#filters option").all_text_contents()), IN_PAGES) == []
    marks = drawn(page, "scatter").locator(".scatterlayer .trace:has(.point) .point")
    heard: set[str] = set()
    for place in range(marks.count()):
        page.mouse.move(2, 2)
        expect(page.locator(".hoverlayer .hovertext")).to_have_count(0)
        told = point_at(page, marks.nth(place))
        number = re.search(r"neuron (\d+)", told)
        assert number is not None
        row = page.locator(f"#neurons-body tr[data-id$='/{number[1]}'] td[data-key=beyond_before]")
        words = list(filter(None, (row.text_content() or "").split("  ")))
        # The name of a stage holds some of the words, too.
        told = told.replace(names(hostile)[2], "")
        assert missing(told, words) == []
        heard |= set(words)
        if {SEEN[0], SEEN[3], SEEN[4]} <= heard:
            break
    assert {SEEN[0], SEEN[3], SEEN[4]} <= heard
    for name in ("volcano", "shift", "mass", "tags", "flow"):
        expect(page.locator(f"#{name}-figure .main-svg").first).to_be_visible()
    ticks = "".join(drawn(page, "tags").locator(".xtick text").all_text_contents())
    assert missing(ticks, [word for word in SEEN if len(word) < 12]) == []
    harmless(page)


def test_the_page_of_a_neuron_shows_hostile_words_as_text(threat: Visit, hostile: Served) -> None:
    page = threat.page
    page.locator("#neurons-head th[data-key=neuron] button").click()
    # Once it is sorted: a row that moves away under the mouse is not clicked.
    expect(page.locator("#neurons-body tr[data-index='1'][data-id$='/1']")).to_be_visible()
    page.locator("#neurons-body tr[data-id$='/1'] td[data-key=shown]").click()
    shows_neuron(page, 1)
    for name in ("neuron", "timeline"):
        expect(page.locator(f"#{name}-figure .main-svg").first).to_be_visible()
    expect(page.locator("#nearest table").first).to_be_visible()
    for hidden in page.locator("#page-neuron details.features summary, #page-neuron .features summary").all():
        hidden.click()
    text = page.locator("#page-neuron").text_content() or ""
    assert missing(text) == []
    assert missing(text, names(hostile)[1:]) == []
    harmless(page)


@pytest.mark.parametrize("place", range(len(IN_PAGES)))
def test_the_page_of_a_feature_shows_a_hostile_word_as_text(
    context: BrowserContext, hostile: Served, place: int
) -> None:
    visit = Visit.within(context, hostile.url, f"feature?word={quote(IN_PAGES[place])}")
    page = visit.page
    expect(page.locator("#features-finding")).to_contain_text("Neurons that respond to")
    assert f"“{SEEN[place]}”" in (page.locator("#features-finding").text_content() or "")
    expect(page.locator("#feature-rows tbody tr").first).to_be_visible()
    assert IN_PAGES[place] in page.title()
    assert page.evaluate("document.querySelector('#feature-controls input').value") == IN_PAGES[place]
    harmless(page)
    visit.close()


def test_the_page_of_a_matching_and_of_the_sources_show_hostile_words_as_text(
    threat: Visit, hostile: Served
) -> None:
    page = threat.page
    page.get_by_role("link", name="Matching", exact=True).click()
    expect(page.locator("#pairs-count")).to_contain_text("pairs")
    page.evaluate("document.getElementById('pairs-view').style.height = '5000px'")
    listed(page, "pairs")
    page.evaluate("document.getElementById('pairs-view').style.height = '5000px'")
    expect(page.locator("#pairs-body tr[data-id]").first).to_be_visible()
    assert missing(page.locator("#pairs-body").text_content() or "") == []
    for name in names(hostile)[1:]:
        expect(page.locator("#matching-finding")).to_contain_text(name)
    page.get_by_role("link", name="Sources", exact=True).click()
    expect(page.locator("#sources tbody tr")).to_have_count(3)
    text = page.inner_text("#sources")
    assert missing(text, [*names(hostile), sanitize(layer_of(hostile.stages[0])), SEEN[0], SEEN[1]]) == []
    harmless(page)


def test_an_address_made_of_hostile_names_is_followed(context: BrowserContext, hostile: Served) -> None:
    visit = Visit.within(context, hostile.url)
    page = visit.page
    page.get_by_role("combobox", name="Before", exact=True).select_option(IN_PAGES[1])
    expect(page.locator("#summary h2")).to_contain_text(f"{sanitize(IN_PAGES[1])} → ")
    page.get_by_label("Main part of speech").select_option(IN_PAGES[0])
    expect(page.locator("#tags-finding")).to_contain_text("selected")
    page.reload()
    ready(page)
    expect(page.get_by_label("Main part of speech")).to_have_value(IN_PAGES[0])
    expect(page.get_by_role("combobox", name="Before", exact=True)).to_have_value(IN_PAGES[1])
    harmless(page)
    visit.close()


def test_what_is_saved_holds_hostile_words_as_text(
    browser: Browser, threat: Visit, hostile: Served, tmp_path: Path
) -> None:
    place = saves(threat, "volcano")
    svg = saved(threat, place.get_by_role("button", name="SVG"), tmp_path).read_text(encoding="utf-8")
    assert not re.search(r"<script|<img|onerror=(?!window\.hacked=1&gt;)", svg)
    page_file = saved(threat, saves(threat, "scatter").get_by_role("link", name="HTML"), tmp_path)
    context = browser.new_context(offline=True)
    page = context.new_page()
    problems: list[str] = []
    page.on("dialog", lambda dialog: (problems.append(dialog.message), dialog.dismiss()))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(page_file.as_uri())
    expect(page.locator(".main-svg").first).to_be_visible()
    # The caption names the stages.
    told = point_at(page, page.locator(".scatterlayer .trace:has(.point) .point").first)
    assert missing(told, [name[:20] for name in names(hostile)[1:]]) == []
    assert page.locator("img:not(.js-plotly-plot img)").count() == 0
    assert not page.evaluate("'hacked' in window")
    assert problems == []
    context.close()
    rows = exported(threat.url)
    assert len(rows) == 24
    assert missing(" ".join(row["beyond_after"] + row["strongest_after"] for row in rows)) == []
