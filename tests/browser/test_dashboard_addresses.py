"""Addresses of the dashboard say all that is looked at: to others, to the history, and where they are wrong."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from tests.browser.conftest import Served
from tests.browser.served import Visit, listed, lists, path_of, ready, said, shows_neuron, until


def test_a_copied_address_shows_the_same(browser: Browser, visit: Visit) -> None:
    page = visit.page
    page.locator(".chip.shared").click()
    until(page, "location.search.includes('state=')")
    ready(page)
    page.get_by_label("Main part of speech").select_option("NN")
    until(page, "location.search.includes('top=')")
    ready(page)
    page.locator("#neurons-head th[data-key=neuron] button").click()
    until(page, "location.search.includes('sort=neuron')")
    ready(page)
    rows = listed(page)
    assert rows == sorted(rows, key=lambda each: int(each.split("/")[1]))
    other = Visit.to(browser, visit.url, path_of(page))
    lists(other.page, rows)
    assert listed(other.page) == rows
    expect(other.page.get_by_role("checkbox", name="in both stages")).to_be_checked()
    expect(other.page.get_by_label("Main part of speech")).to_have_value("NN")
    heading = other.page.locator("#neurons-head th[data-key=neuron]")
    expect(heading).to_have_attribute("aria-sort", "ascending")
    other.page.locator("#neurons-body tr[data-index='1'] a").click()
    shows_neuron(other.page, rows[1].split("/")[1])
    third = Visit.to(browser, visit.url, path_of(other.page))
    shows_neuron(third.page, rows[1].split("/")[1])
    third.page.get_by_role("link", name="Overview", exact=True).click()
    lists(third.page, rows)
    third.close()
    other.close()


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("?before=nowhere", "There is no stage “nowhere”; “zero-shot” is shown instead."),
        ("?feature_type=nonsense", "There is no feature type “nonsense”; “token” is shown instead."),
        ("neuron?neuron=999999", "has no neuron 999999; there are 0 to 59"),
        ("neuron?neuron=abc", "Pick a neuron"),
        ("?layer=nonsense", "nonsense"),
        ("?hellinger=abc", "hellinger"),
        ("matching?layer=nonsense", "nonsense"),
    ],
)
def test_an_address_that_is_wrong_says_so(
    context: BrowserContext, served: Served, address: str, told: str
) -> None:
    visit = Visit.within(context, served.url, address)
    expect(visit.page.locator("main .notice:visible").filter(has_text=told).first).to_be_visible()
    expect(visit.page.locator("#stage-controls select").first).to_be_visible()
    visit.close()


@pytest.mark.parametrize(
    "address",
    [
        "?" + "&".join(f"{name}={quote('<script>window.hacked=1</script>')}" for name in names)
        for names in (
            ("before", "after", "feature_type", "layer", "top"),
            ("prefers", "sort", "state", "hellinger"),
        )
    ]
    + ["nowhere/at/all", "?before=%ff%fe&after=%00"],
)
def test_nonsense_in_an_address_leaves_a_page(context: BrowserContext, served: Served, address: str) -> None:
    visit = Visit.within(context, served.url, address)
    expect(visit.page.locator("#stage-controls select").first).to_be_visible()
    expect(visit.page.locator("#page-overview")).to_be_visible()
    expect(visit.page.locator("#neurons-count")).not_to_be_empty()
    visit.close()


def test_the_history_brings_back_filters_pages_and_order(visit: Visit) -> None:
    page = visit.page
    every = listed(page)
    page.locator(".chip.avoided").click()
    until(page, "location.search === '?state=avoided'")
    avoided = int(page.locator(".chip.avoided b").inner_text())
    until(page, f"document.getElementById('neurons-table').ariaRowCount === '{avoided + 1}'")
    few = listed(page)
    assert 0 < len(few) == avoided < len(every)
    assert set(few) < set(every)
    page.locator("#neurons-head th[data-key=neuron] button").click()
    until(page, "location.search.includes('sort=neuron')")
    ready(page)
    until(page, f"document.querySelector('#neurons-body tr[data-index]').dataset.id === '{_first(few)}'")
    page.locator("#neurons-body tr[data-index='0'] a").click()
    shows_neuron(page, _first(few).split("/")[1])
    page.go_back()
    expect(page.locator("#page-overview")).to_be_visible()
    lists(page, few)
    assert listed(page)[0] == _first(few)
    assert said(page) == {"state": "avoided", "sort": "neuron"}
    page.go_back()
    until(page, "location.search === '?state=avoided'")
    expect(page.locator("#neurons-head th[data-key=change]")).to_have_attribute("aria-sort", "descending")
    lists(page, few)
    page.go_back()
    lists(page, every)
    until(page, f"document.querySelector('#neurons-body tr[data-index]').dataset.id === '{every[0]}'")
    expect(page.get_by_role("checkbox", name="only before")).not_to_be_checked()
    for _ in range(3):
        page.go_forward()
    shows_neuron(page, _first(few).split("/")[1])


def _first(rows: list[str]) -> str:
    return min(rows, key=lambda each: int(each.split("/")[1]))
