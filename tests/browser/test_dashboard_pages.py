"""The pages of a neuron, a feature, a matching and the sources of the dashboard, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.conftest import Served
from tests.browser.served import Visit, drawn, listed, path_of, ready, said, shows_neuron, until
from txray.preferences import Stage


@pytest.fixture
def strangers(context: BrowserContext, layered: Served) -> Iterator[Visit]:
    """Two stages that have no layer in common."""
    opened = Visit.within(context, layered.url)
    yield opened
    opened.close()


def holders(stage: Stage, word: str) -> set[int]:
    """Neurons that prefer a token."""
    preferences = stage.preferences(layer="rnn", feature_type="token")
    return {n for n in range(preferences.n_neurons) if word in list(preferences.table(n)["feature"])}


def test_the_page_of_a_neuron_tells_what_it_prefers(context: BrowserContext, served: Served) -> None:
    visit = Visit.within(context, served.url, "neuron?neuron=43")
    page = visit.page
    shows_neuron(page, 43)
    table = served.stages[3].preferences(layer="rnn", feature_type="token").table(43)
    text = page.inner_text("#page-neuron")
    assert table["feature"][0] in text
    exemplar = served.stages[3].exemplars.filter(neuron=43, rank=0)
    assert exemplar["word"][0] in page.locator("#page-neuron mark").all_inner_texts()
    assert f"{exemplar['document'][0]}, word {exemplar['position'][0] + 1}" in text
    for stage in served.stages:
        length = len(stage.preferences(layer="rnn", feature_type="token").table(43))
        row = page.locator("#page-neuron .over tbody tr", has_text=stage.name).first
        expect(row.locator("td").first).to_have_text(str(length))
    drawn(page, "timeline")
    drawn(page, "neuron")
    page.get_by_role("button", name="Next →").click()
    shows_neuron(page, 44)
    assert said(page)["neuron"] == "44"
    page.get_by_role("spinbutton", name="Neuron").fill("2")
    page.keyboard.press("Enter")
    shows_neuron(page, 2)
    visit.close()


def test_a_nearest_neuron_opens(context: BrowserContext, served: Served) -> None:
    visit = Visit.within(context, served.url, "neuron?neuron=43")
    link = visit.page.locator("#nearest a").first
    number = link.inner_text().split()[-1]
    link.click()
    shows_neuron(visit.page, number)
    assert said(visit.page)["neuron"] == number
    visit.close()


def test_a_word_tells_which_neurons_prefer_it(visit: Visit, served: Served) -> None:
    page = visit.page
    page.get_by_role("link", name="Feature", exact=True).click()
    expect(page.locator("#page-feature")).to_contain_text("Type a token above")
    found = [holders(stage, "fuy") for stage in served.stages]
    page.get_by_label("Token", exact=False).last.fill("fuy")
    page.keyboard.press("Enter")
    for stage, neurons in (("epoch-01", found[0]), ("sup", found[3])):
        expect(page.locator("#features-finding")).to_contain_text(f"{len(neurons)} of 60 neurons in {stage}")
    assert path_of(page) == "/feature?word=fuy"
    drawn(page, "features")
    heights = "[...document.querySelector('#features-figure .js-plotly-plot')._fullData[0].y]"
    assert page.evaluate(heights) == [len(each) for each in found]
    before, after = found[2:]
    kept, left, came = len(before & after), len(before - after), len(after - before)
    expect(page.locator("#feature-rows .lead")).to_contain_text(
        f"{kept} neuron{'s' * (kept != 1)} kept responding to it, {left} stopped and {came} started."
    )
    rows = page.locator("#feature-rows tbody tr")
    assert rows.count() == len(before | after)
    assert {int(text.split()[-1]) for text in rows.locator("th").all_inner_texts()} == before | after
    link = rows.first.locator("a")
    number = link.inner_text().split()[-1]
    link.click()
    shows_neuron(page, number)
    assert path_of(page).startswith("/neuron?")


def test_an_unknown_word_gets_a_hint(context: BrowserContext, served: Served) -> None:
    visit = Visit.within(context, served.url, "feature?word=udinetee")
    empty = visit.page.locator("#feature-rows .empty")
    expect(empty).to_have_text(
        "No neuron responds to “udinetee” in zero-shot or sup. Did you mean “udinete”?"
    )
    visit.page.get_by_role("searchbox").last.fill("0000")
    visit.page.keyboard.press("Enter")
    expect(empty).to_contain_text("“0000” in zero-shot or sup.")
    expect(empty).to_contain_text("does not occur in the text")
    visit.close()


def test_stages_without_a_common_layer_are_matched(strangers: Visit) -> None:
    page = strangers.page
    for place in ("#summary", "#warnings", "#scatter-problem", "#neurons-count"):
        expect(page.locator(place)).to_contain_text("no layer of the same size")
        expect(page.locator(place)).to_contain_text("match their neurons instead")
    page.get_by_role("link", name="Matching", exact=True).click()
    page.get_by_label("Layer of old").select_option("upper")
    until(page, "location.search.includes('layer=upper')")
    ready(page)
    expect(page.locator("#matching-finding")).to_contain_text(
        re.compile("of old (has|have) a counterpart in other")
    )
    expect(page.locator("#pairs-count")).to_contain_text("pairs and single neurons.")
    rows = listed(page, "pairs")
    assert len({row.split("/")[0] for row in rows} - {"null"}) >= 14
    index = next(number for number, row in enumerate(rows) if not row.endswith("/None"))
    after = rows[index].split("/")[1]
    page.evaluate("(top) => (document.getElementById('pairs-view').scrollTop = top)", 34 * index)
    page.locator(f"#pairs-body tr[data-index='{index}'] td[data-key=affinity]").click()
    until(page, "location.pathname === '/neuron'")
    assert said(page)["neuron"] == after
    shows_neuron(page, after)
    assert "other" in page.inner_text("#page-neuron")


def test_the_sources_of_every_stage_are_told(context: BrowserContext, served: Served) -> None:
    visit = Visit.within(context, served.url, "sources")
    rows = visit.page.locator("#sources tbody tr")
    expect(rows).to_have_count(4)
    for row, stage in zip(rows.all(), served.stages, strict=True):
        assert row.inner_text().split()[0] == stage.name
        assert {"60", "token,", "pos", "max-1", "2,000", "16"} <= set(row.inner_text().split())
    expect(visit.page.locator("#sources")).to_contain_text("200 permutations")
    visit.close()
