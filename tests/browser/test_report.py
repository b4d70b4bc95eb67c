"""The report in a real browser: Chromium, driven by playwright."""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from playwright.sync_api import Browser, Page

import txray
from tests.builders.hostile import IN_PAGES
from tests.builders.stages import stage_of, story, vocabulary
from txray.analysis import CONFIDENT_STATES, Comparison, compare
from txray.analysis.states import STATE_NAMES
from txray.plots.text import sanitize
from txray.preferences import Stage
from txray.web.report import Section

READY = "html[data-ready]"
PATIENCE = 120_000
"""Milliseconds: a busy machine needs many seconds to open a page."""
IN_VIEW = """(id) => {
    const row = document.querySelector(`#rows tr[data-id='${id}']`)?.getBoundingClientRect();
    const list = document.getElementById("list").getBoundingClientRect();
    const head = document.getElementById("columns").getBoundingClientRect();
    return row !== undefined && row.top >= head.bottom - 1 && row.bottom <= list.bottom + 1;
}"""
DRAWN = "html[data-ready=all]"


@dataclass
class Visit:
    """An open page and everything it did that it should not."""

    page: Page
    requests: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @classmethod
    def to(
        cls, browser: Browser, file: Path, address: str = "", *, width: int = 1400, height: int = 900
    ) -> Visit:
        visit = cls(browser.new_context(viewport={"width": width, "height": height}).new_page())
        page = visit.page
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: visit.requests.append(request.url))
        page.on(
            "requestfailed",
            lambda request: visit.blocked.append(request.url) if request.failure == "csp" else None,
        )
        page.on("pageerror", lambda error: visit.problems.append(str(error)))
        page.on("console", lambda message: visit.problems.append(f"{message.type}: {message.text}"))
        page.on("dialog", lambda dialog: (visit.problems.append(dialog.message), dialog.dismiss()))
        page.goto(file.as_uri() + address)
        page.wait_for_selector(READY)
        return visit

    def check(self) -> None:
        """Fail if the page complained, asked for anything from outside, or ran a word."""
        assert self.problems == []
        assert [url for url in self.requests[1:] if not url.startswith(("data:", "blob:"))] == []
        assert not self.page.evaluate("'hacked' in window")

    def close(self) -> None:
        """Check, then leave."""
        try:
            self.check()
        finally:
            self.page.context.close()


@pytest.fixture(scope="module")
def stages() -> list[Stage]:
    return story()


@pytest.fixture(scope="module")
def comparisons(stages: list[Stage]) -> list[Comparison]:
    return [compare(stages[i], stages[i + 1]) for i in range(3)]


@pytest.fixture(scope="module")
def file(stages: list[Stage], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return txray.report(stages, tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture
def visit(browser: Browser, file: Path) -> Iterator[Visit]:
    """A page that was opened just now."""
    opened = Visit.to(browser, file)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def shared(browser: Browser, file: Path) -> Iterator[Visit]:
    opened = Visit.to(browser, file)
    yield opened
    opened.close()


@pytest.fixture
def explorer(shared: Visit) -> Iterator[Page]:
    """The explorer as it is after opening the page, but of one page for all tests: opening takes a second."""
    page = shared.page
    page.select_option("#pair", "0")
    page.check("input[name=state][value=all]", force=True)
    page.fill("#query", "")
    while page.get_attribute("#columns th[data-key=mass_after]", "aria-sort") != "descending":
        page.click("#columns th[data-key=mass_after] button")
    yield page
    shared.check()


def listed(page: Page) -> list[int]:
    """All neurons of the list in their order, read from a window high enough to hold them all."""
    page.evaluate("document.querySelector('.browser').style.height = '100000px'")
    rows = "[...document.querySelectorAll('#rows tr[data-id]')]"
    until(page, f"{rows}.length === document.getElementById('neurons').ariaRowCount - 1")
    neurons = page.evaluate(f"{rows}.map((row) => Number(row.dataset.id))")
    page.evaluate("document.querySelector('.browser').style.height = ''")
    # Two frames, so that the page has seen the small window before anybody makes it large again.
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return list(neurons)


def until(page: Page, condition: str) -> None:
    """Wait for a condition; playwright's own way needs `eval`, which the page forbids."""
    deadline = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(20)


def row_of(neuron: int) -> str:
    """Selector of a neuron's row in the list."""
    return f"#rows tr[data-id='{neuron}']"


def picked(page: Page) -> str:
    return str(page.inner_text("#detail h3")).split("\n")[0]


def probabilities(stage: Stage, neuron: int, kind: str = "token") -> dict[str, float]:
    table = stage.preferences(layer="rnn", feature_type=kind).table(neuron)
    return dict(zip(table["feature"], table["probability"], strict=True))


def strongest(before: Stage, after: Stage, neuron: int) -> list[str]:
    p, q = probabilities(before, neuron), probabilities(after, neuron)
    return sorted(p | q, key=lambda name: (-max(p.get(name, 0), q.get(name, 0)), name))[:25]


def test_draws_every_figure(visit: Visit) -> None:
    visit.page.wait_for_selector(DRAWN)
    places = visit.page.locator("[data-figure]")
    assert places.count() == 3 * 7 + 3
    assert visit.page.locator("[data-figure] .main-svg").count() < 3 * places.count()
    visit.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    for place in places.all():
        assert place.locator("svg.main-svg").count() == 3
        # The title stands above as a heading, so the figure must not keep room for it, nor draw it twice.
        declared = re.search(r"height: ?(\d+)px", place.get_attribute("style") or "")
        assert declared is not None
        assert place.evaluate("place => place.querySelector('svg').height.baseVal.value") == int(declared[1])
        assert place.locator(".gtitle").count() == 0
    assert visit.page.locator("canvas").count() == 0


def test_draws_figures_as_they_come_into_view(visit: Visit) -> None:
    last = visit.page.locator("[data-figure]").last
    assert last.locator("svg.main-svg").count() == 0
    last.scroll_into_view_if_needed()
    last.locator("svg.main-svg").first.wait_for()


def test_navigation_marks_the_section_on_the_screen(explorer: Page) -> None:
    for name in ("explorer", "in-short", "section-1"):
        explorer.click(f"nav a[href='#{name}']")
        until(explorer, f"document.querySelector('nav a[aria-current]')?.hash === '#{name}'")
    assert explorer.locator("nav a[aria-current]").count() == 1


def test_search_by_number_finds_that_neuron(explorer: Page) -> None:
    explorer.fill("#query", "7")
    rows = listed(explorer)
    assert rows == [7]
    assert "1 of 60 neurons" in explorer.inner_text("#shown")


def test_search_by_feature_finds_all_that_list_it(explorer: Page, stages: list[Stage]) -> None:
    lists = [strongest(stages[0], stages[1], neuron) for neuron in range(60)]

    def fitting(query: str, fits: Callable[[str, str], bool]) -> set[int]:
        return {neuron for neuron, names in enumerate(lists) if any(fits(name, query) for name in names)}

    # A query that also stands within other features, where it must not be found.
    starts = [name[:2] for name in lists[30]]
    query = next(q for q in starts if len(fitting(q, str.startswith)) < len(fitting(q, str.__contains__)))
    explorer.fill("#query", f"  {query.upper()} ")
    assert set(listed(explorer)) == fitting(query, str.startswith)


def test_search_without_a_match_says_so(explorer: Page) -> None:
    explorer.fill("#query", "qqqqqqq")
    assert listed(explorer) == []
    assert "0 of 60 neurons" in explorer.inner_text("#shown")
    explorer.focus("#neurons")
    explorer.keyboard.press("ArrowDown")
    explorer.fill("#query", "")
    assert len(listed(explorer)) == 60


@pytest.mark.parametrize(
    "column",
    ["neuron", "length_before", "length_after", "mass_before", "mass_after", "hellinger", "q"],
)
def test_sorts_by_every_number(explorer: Page, comparisons: list[Comparison], column: str) -> None:
    rising = comparisons[0].neurons.with_columns(pl.selectors.float().round_sig_figs(4), q="q_value")
    seen = []
    for _ in range(2):
        explorer.click(f"#columns th[data-key={column}] button")
        order = explorer.get_attribute(f"#columns th[data-key={column}]", "aria-sort")
        assert explorer.locator("#columns th[aria-sort]").count() == 1
        wanted = rising.sort([column, "neuron"], descending=[order == "descending", False], nulls_last=True)
        assert listed(explorer) == wanted["neuron"].to_list()
        seen.append(order)
    assert sorted(seen) == ["ascending", "descending"]


def test_sorts_by_state_and_by_feature(
    explorer: Page, comparisons: list[Comparison], stages: list[Stage]
) -> None:
    states = comparisons[0].neurons["confident_state"].to_physical().to_list()
    explorer.click("#columns th[data-key=state] button")
    assert [states[neuron] for neuron in listed(explorer)] == sorted(states)
    explorer.click("#columns th[data-key=features] button")
    first = [(strongest(stages[0], stages[1], neuron) or ["~"])[0] for neuron in listed(explorer)]
    assert first == sorted(first)


def test_sort_buttons_work_by_keyboard(explorer: Page) -> None:
    explorer.focus("#columns th[data-key=neuron] button")
    explorer.keyboard.press("Enter")
    assert listed(explorer) == list(range(60))
    explorer.focus("#columns th[data-key=neuron] button")
    explorer.keyboard.press("Space")
    assert listed(explorer) == list(range(59, -1, -1))


# No neuron of these stages grows at the expense of others.
@pytest.mark.parametrize("state", [state for state in CONFIDENT_STATES if state != "displaced"])
def test_filters_by_state(explorer: Page, comparisons: list[Comparison], state: str) -> None:
    pair = 2 if state == "undecided" else 0
    explorer.select_option("#pair", str(pair))
    wanted = comparisons[pair].neurons.filter(pl.col("confident_state") == state)["neuron"].to_list()
    assert 0 < len(wanted) < 60
    explorer.check(f"input[name=state][value={state}]", force=True)
    assert sorted(listed(explorer)) == wanted
    assert explorer.inner_text(f".chip.{state} b") == str(len(wanted))
    explorer.check("input[name=state][value=all]", force=True)
    assert len(listed(explorer)) == 60


def sure(comparison: Comparison) -> pl.DataFrame:
    """The neurons with a column that tells whether they are significant."""
    changed = (pl.col("q_value") <= 0.05).fill_null(value=False)
    return comparison.neurons.with_columns(
        sure=changed | pl.col("confident_state").cast(pl.String).is_in(["avoided", "gained"])
    )


def test_significant_neurons_come_first_and_the_rest_is_grey(
    visit: Visit, comparisons: list[Comparison]
) -> None:
    page = visit.page
    assert page.get_attribute("#columns th[data-key=change]", "aria-sort") == "descending"
    neurons = sure(comparisons[0])
    keys = ["sure", "z_score", "hellinger", pl.max_horizontal("mass_before", "mass_after"), "neuron"]
    wanted = neurons.sort(keys, descending=[True, True, True, True, False], nulls_last=True)
    assert 0 < int(neurons["sure"].sum()) < 60
    assert listed(page) == wanted["neuron"].to_list()
    page.click("#columns th[data-key=change] button")
    unknown = set(neurons.filter(~pl.col("sure") & pl.col("z_score").is_null())["neuron"])
    rising = listed(page)
    assert set(rising[len(rising) - len(unknown) :]) == unknown, (
        "neurons without a value come last, either way"
    )
    page.click("#columns th[data-key=change] button")
    grey = page.evaluate(
        "[...document.querySelectorAll('#rows tr.faint')].map((row) => Number(row.dataset.id))"
    )
    drawn = page.evaluate(
        "[...document.querySelectorAll('#rows tr[data-id]')].map((row) => Number(row.dataset.id))"
    )
    undecided = set(neurons.filter(~pl.col("sure"))["neuron"])
    assert grey == [neuron for neuron in drawn if neuron in undecided]
    visit.requests.clear()


def test_the_details_tell_chance_and_what_outdoes_its_frequency(
    explorer: Page, comparisons: list[Comparison], stages: list[Stage]
) -> None:
    tested = comparisons[0].neurons.filter(pl.col("q_value").is_not_null()).sort("q_value", "neuron")
    for row, verdict in (
        (tested.row(0, named=True), None),
        (tested.row(-1, named=True), "; not significant: no change found"),
    ):
        explorer.fill("#query", str(row["neuron"]))
        explorer.click(row_of(row["neuron"]))
        told = explorer.inner_text("#detail .lead")
        numbers = re.search(r"At equal numbers of wins ([\d.]+), ([\d.]+) if nothing had changed\.", told)
        assert numbers is not None
        assert float(numbers[1]) == pytest.approx(row["distance_matched"], abs=0.001)
        assert float(numbers[2]) == pytest.approx(row["distance_null"], abs=0.001)
        significant = "; significant (5% FDR" if row["q_value"] <= 0.05 else "; not significant: "
        assert (verdict or significant) in told
        for line, stage in zip(
            explorer.locator("#detail .beyond p:not(.note)").all(), stages[:2], strict=True
        ):
            table = (
                stage.preferences().table(row["neuron"]).sort(["lift", "feature"], descending=[True, False])
            )
            assert (
                line.inner_text().split(", ") == table.filter(pl.col("lift") > 1)["feature"].head(8).to_list()
            )
    undecided = comparisons[2].neurons.filter(pl.col("confident_state") == "undecided")["neuron"][0]
    explorer.select_option("#pair", "2")
    explorer.fill("#query", str(undecided))
    explorer.click(row_of(undecided))
    assert "not significant (5% FDR, text-matched)" in explorer.inner_text("#detail .lead")
    assert picked(explorer).startswith(f"Neuron {undecided} undecided")


def test_click_shows_what_the_neuron_prefers(explorer: Page, stages: list[Stage]) -> None:
    explorer.fill("#query", "33")
    explorer.click(row_of(33))
    assert picked(explorer).startswith("Neuron 33")
    explorer.click("#detail .features.token summary")
    before, after = (probabilities(stage, 33) for stage in stages[:2])
    wanted = strongest(stages[0], stages[1], 33)
    rows = [
        [cell.strip() for cell in (row.locator("th, td:not(.bars)").all_inner_texts())]
        for row in explorer.locator("#detail .features.token tbody tr").all()
    ]
    assert [row[0] for row in rows] == wanted
    for name, first, second in rows:
        for shown, share in ((first, before.get(name)), (second, after.get(name))):
            if share is None:
                assert shown == "–"
            else:
                assert float(shown.removesuffix("%")) == pytest.approx(100 * share, rel=0.06)
    tags = explorer.locator("#detail .features.pos tbody th").all_inner_texts()
    assert set(tags) == set(probabilities(stages[0], 33, "pos")) | set(probabilities(stages[1], 33, "pos"))


def test_rows_stay_while_the_list_scrolls_within_what_is_drawn(explorer: Page) -> None:
    explorer.fill("#query", "")
    frames = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    explorer.evaluate(frames)
    explorer.evaluate("window.pressed = document.querySelector('#rows tr[data-id]')")
    explorer.evaluate("document.getElementById('list').scrollTop = 20")
    explorer.evaluate(frames)
    # A row that is replaced between pressing and releasing the button gets no click.
    assert explorer.evaluate("window.pressed.isConnected")
    explorer.evaluate("document.getElementById('list').scrollTop = 34 * 30")
    explorer.evaluate(frames)
    assert not explorer.evaluate("window.pressed.isConnected")


def test_bars_are_as_long_as_the_probabilities(explorer: Page, stages: list[Stage]) -> None:
    explorer.fill("#query", "33")
    explorer.click(row_of(33))
    p, q = (probabilities(stage, 33, "pos") for stage in stages[:2])
    most = max(*p.values(), *q.values())
    for row in explorer.locator("#detail .features.pos tbody tr").all():
        name = row.locator("th").inner_text()
        cell = row.locator(".bars").bounding_box()
        for side, share in (("before", p.get(name, 0)), ("after", q.get(name, 0))):
            width = row.locator(f".bar.{side}").evaluate("bar => bar.getBoundingClientRect().width")
            assert cell is not None
            assert width == pytest.approx(cell["width"] * share / most, abs=2)


def test_exemplars_stand_in_context(explorer: Page, stages: list[Stage]) -> None:
    explorer.select_option("#pair", "2")
    explorer.fill("#query", "45")
    explorer.click(row_of(45))
    sections = explorer.locator("#detail .exemplars")
    assert sections.count() == 2
    for section, stage in zip(sections.all(), stages[2:], strict=True):
        rows = stage.exemplars.filter(neuron=45).sort("rank").head(6)
        items = section.locator("li").all()
        assert len(items) == len(rows) == 6
        for item, row in zip(items, rows.iter_rows(named=True), strict=True):
            context = item.locator(".context").inner_text()
            assert context.split() == f"{row['before']} {row['word']} {row['after']}".split()
            assert item.locator("mark").inner_text() == row["word"]
            facts = item.locator(".facts").inner_text()
            assert f"{row['activation']:.2f}"[:3] in facts
            assert f"word {row['position'] + 1}" in facts
            if row["output"] is None:
                assert f"p(pos) {row['probability']:.2f}" in facts
                assert f"label {row['label']}" in facts
            else:
                assert f"predicts {row['output']}" in facts


def test_sizes_over_all_stages(explorer: Page, stages: list[Stage]) -> None:
    explorer.fill("#query", "50")
    explorer.click(row_of(50))
    rows = explorer.locator("#detail .over tbody tr").all()
    for row, stage in zip(rows, stages, strict=True):
        preferences = stage.preferences()
        shown = row.locator("td").all_inner_texts()
        assert row.locator("th").inner_text() == stage.name
        assert shown[:2] == [str(preferences.lengths()[50]), str(preferences.wins()[50])]
        share = preferences.mass()[50] / preferences.mass().sum()
        assert float(shown[3].removesuffix("%")) == pytest.approx(100 * share, rel=0.05)


def test_unpreferred_neurons_have_no_features(explorer: Page, comparisons: list[Comparison]) -> None:
    neuron = comparisons[0].neurons.filter(pl.col("state") == "unpreferred")["neuron"][0]
    explorer.fill("#query", str(neuron))
    explorer.click(row_of(neuron))
    assert "Prefers nothing in either stage" in explorer.inner_text("#detail")
    assert explorer.locator("#detail .features").count() == 0


def test_walks_by_keyboard(explorer: Page) -> None:
    explorer.click("#columns th[data-key=neuron] button")
    explorer.focus("#neurons")
    explorer.keyboard.press("Home")
    assert picked(explorer).startswith("Neuron 0 ")
    for _ in range(3):
        explorer.keyboard.press("ArrowDown")
    assert picked(explorer).startswith("Neuron 3 ")
    assert explorer.get_attribute("#neurons", "aria-activedescendant") == explorer.get_attribute(
        row_of(3), "id"
    )
    assert explorer.get_attribute(row_of(3), "aria-selected") == "true"
    explorer.keyboard.press("ArrowUp")
    assert picked(explorer).startswith("Neuron 2 ")
    explorer.keyboard.press("End")
    assert picked(explorer).startswith("Neuron 59 ")
    assert explorer.evaluate(IN_VIEW, "59")
    explorer.keyboard.press("Home")
    assert explorer.evaluate(IN_VIEW, "0")
    explorer.keyboard.press("End")
    explorer.keyboard.press("PageUp")
    here = int(picked(explorer).split()[1])
    assert 30 < here < 58
    explorer.keyboard.press("Enter")
    assert explorer.evaluate("document.activeElement.id") == "detail"
    explorer.keyboard.press("Escape")
    assert explorer.evaluate("document.activeElement.id") == "neurons"
    explorer.keyboard.press("PageDown")
    assert picked(explorer).startswith("Neuron 59 ")


def test_tab_reaches_every_control(explorer: Page) -> None:
    explorer.focus("#pair")
    reached = []
    for _ in range(16):
        explorer.keyboard.press("Tab")
        reached.append(explorer.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert reached[0] == "query"
    assert reached[1] == "INPUT"
    assert "neurons" in reached
    assert reached.count("BUTTON") == 11


def test_every_control_has_a_name(explorer: Page) -> None:
    nameless = explorer.evaluate(
        """() => [...document.querySelectorAll("select, input, button, a, table, [role=group], [role=region]")]
            .filter((element) => element.offsetParent !== null)
            .filter((element) => !element.closest(".js-plotly-plot, .exemplars, .features, .over, .sources"))
            .filter((element) => !(element.textContent.trim() || element.labels?.length
                || element.ariaLabel || element.getAttribute("aria-labelledby")))
            .map((element) => element.outerHTML)"""
    )
    assert nameless == []


def test_the_address_keeps_the_neuron(visit: Visit) -> None:
    page = visit.page
    assert "#" not in page.url
    page.select_option("#pair", "1")
    page.fill("#query", "21")
    page.click(row_of(21))
    assert page.url.endswith("#neuron=21&pair=2")
    page.reload()
    page.wait_for_selector(READY)
    assert picked(page).startswith("Neuron 21 ")
    assert page.input_value("#pair") == "1"
    visit.requests.clear()


def test_deep_link_opens_the_neuron(browser: Browser, file: Path, comparisons: list[Comparison]) -> None:
    neuron = comparisons[2].neurons.filter(pl.col("confident_state") == "gained")["neuron"][-1]
    visit = Visit.to(browser, file, f"#neuron={neuron}&pair=3")
    assert picked(visit.page).startswith(f"Neuron {neuron} only after")
    assert visit.page.input_value("#pair") == "2"
    until(visit.page, "document.querySelector('#explorer').getBoundingClientRect().top < 200")
    shown = visit.page.locator(row_of(neuron))
    assert shown.get_attribute("aria-selected") == "true"
    # Within the open page, with a filter in the way.
    visit.page.fill("#query", "qqqq")
    visit.page.evaluate("location.hash = 'neuron=5&pair=1'")
    until(visit.page, "document.querySelector('#detail h3').textContent.startsWith('Neuron 5 ')")
    assert visit.page.input_value("#pair") == "0"
    assert visit.page.input_value("#query") == ""
    visit.close()


@pytest.mark.parametrize("neuron", ["60", "-1", "1.5", "abc", "", "constructor", "<b>"])
def test_a_link_to_a_neuron_that_is_not_there_says_so(explorer: Page, neuron: str) -> None:
    explorer.evaluate("(address) => { location.hash = address }", f"neuron={neuron}&pair=9")
    until(explorer, "document.querySelector('#detail').textContent.startsWith('There is no neuron')")
    assert explorer.input_value("#pair") == "0"
    assert len(listed(explorer)) == 60


def test_switching_the_comparison_keeps_the_neuron(explorer: Page, comparisons: list[Comparison]) -> None:
    assert explorer.locator("#pair option").all_inner_texts() == [
        "epoch-01 → epoch-48",
        "epoch-48 → zero-shot",
        "zero-shot → sup",
    ]
    explorer.fill("#query", "17")
    explorer.click(row_of(17))
    for pair, comparison in enumerate(comparisons):
        explorer.select_option("#pair", str(pair))
        row = comparison.neurons.row(17, named=True)
        cells = explorer.locator(f"{row_of(17)} td").all_inner_texts()
        assert cells[1].strip() == STATE_NAMES[row["confident_state"]]
        assert cells[3:5] == [str(row["length_before"]), str(row["length_after"])]
        assert cells[7] == ("–" if row["hellinger"] is None else f"{row['hellinger']:.3f}")
        assert STATE_NAMES[row["confident_state"]] in picked(explorer)


def test_a_click_in_a_figure_opens_the_neuron(visit: Visit, comparisons: list[Comparison]) -> None:
    place = visit.page.locator("#section-1 [data-pair='1']").first
    place.scroll_into_view_if_needed()
    place.locator(".scatterlayer .point").first.wait_for()
    neuron = place.evaluate("place => place.data[0].customdata[0] ?? place._fullData[0].customdata[0]")
    box = place.locator(".scatterlayer .trace").first.locator(".point").first.bounding_box()
    assert box is not None
    visit.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    # Plotly clicks what it hovers over, and hovers with a delay.
    until(visit.page, "document.querySelector('#section-1 .hoverlayer .hovertext') !== null")
    visit.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    until(visit.page, "location.hash.includes('neuron=')")
    assert visit.page.input_value("#pair") == "1"
    row = comparisons[1].neurons.row(int(visit.page.url.split("neuron=")[1].split("&")[0]), named=True)
    wanted = comparisons[1].neurons.row(int(neuron), named=True)
    # Marks may lie on top of each other: then any of them is right.
    assert (row["hellinger_length"], row["hellinger"]) == (wanted["hellinger_length"], wanted["hellinger"])


def test_a_figure_can_be_saved_with_its_title(visit: Visit, tmp_path: Path) -> None:
    place = visit.page.locator("[data-figure='0']")
    place.scroll_into_view_if_needed()
    place.hover()
    with visit.page.expect_download() as download:
        place.locator(".modebar-btn[data-title^='Save']").click()
    picture = tmp_path / "figure.png"
    download.value.save_as(picture)
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", data[16:24])
    drawn = place.evaluate("place => [place.offsetWidth, place.offsetHeight, +place.dataset.heading]")
    assert width == pytest.approx(2 * drawn[0], abs=2)
    assert height == pytest.approx(2 * (drawn[1] + drawn[2]), abs=2)
    assert drawn[2] > 20


def test_words_of_the_corpus_never_run(browser: Browser, tmp_path: Path) -> None:
    words = [*IN_PAGES, *vocabulary(20)]
    stages = [
        stage_of(name, words, n_words=300, n_neurons=6, seed=seed)
        for seed, name in enumerate(("<img src=x onerror=hacked=1>", "</script><script>hacked=1</script>"))
    ]
    renamed = [
        Stage(
            stage.name,
            stage.collected,
            stage.exemplars.with_columns(
                pl.lit(IN_PAGES[0]).alias("document"),
                pl.lit(IN_PAGES[1]).alias("output"),
                pl.lit(IN_PAGES[10]).alias("label"),
            ),
            stage.manifest,
            stage.tags,
        )
        for stage in stages
    ]
    file = txray.report(
        renamed, tmp_path / "report.html", title=IN_PAGES[8], sections=[Section(IN_PAGES[1], IN_PAGES[0])]
    )
    visit = Visit.to(browser, file)
    page = visit.page
    page.wait_for_selector(DRAWN)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    seen = ""
    for neuron in range(6):
        page.evaluate(f"location.hash = 'neuron={neuron}'")
        page.wait_for_function(
            f"document.querySelector('#detail h3').textContent.startsWith('Neuron {neuron} ')"
        )
        seen += page.text_content("#detail") or ""
    seen += page.text_content("#rows") or ""
    assert [word for word in map(sanitize, IN_PAGES) if word[:100].lower() not in seen.lower()] == []
    assert IN_PAGES[8] == page.title() == page.inner_text("h1")
    assert page.inner_text("#section-0 .text") == IN_PAGES[0]
    assert (
        page.locator("img, #detail svg, #rows script, #detail script, a[href^='javascript' i]").count() == 0
    )
    assert page.locator("script").count() == 5
    page.fill("#query", IN_PAGES[0])
    assert listed(page)
    visit.close()


def test_an_injected_script_does_not_run(visit: Visit) -> None:
    blocked = visit.page.evaluate(
        """() => new Promise((done) => {
            const seen = [];
            addEventListener("securitypolicyviolation", (event) => seen.push(event.effectiveDirective));
            document.body.append(Object.assign(document.createElement("script"), { textContent: "window.hacked = 1" }));
            document.body.append(Object.assign(document.createElement("img"), { src: "https://example.org/x.png" }));
            fetch("https://example.org/").catch(() => setTimeout(() => done(seen), 100));
        })"""
    )
    assert {"script-src-elem", "img-src", "connect-src"} <= set(blocked)
    assert not visit.page.evaluate("'hacked' in window")
    assert visit.requests[1:] == visit.blocked
    visit.requests.clear()
    visit.problems.clear()


def test_several_layers_can_be_told_apart(browser: Browser, tmp_path: Path) -> None:
    words = vocabulary(40)
    stages = []
    for seed, name in enumerate(("before", "after")):
        one, two = (
            stage_of(name, words, layer=layer, n_neurons=5 + 3 * i, seed=seed + i)
            for i, layer in enumerate(("lower", "constructor"))
        )
        collected = {**one.collected, **two.collected}
        stages.append(Stage(name, collected, one.exemplars.vstack(two.exemplars), {}, one.tags))
    pairs = [compare(*stages, layer=layer, permutations=0) for layer in ("lower", "constructor")]
    # One more stage, which lacks the upper layer.
    stages.append(stage_of("bare", words, layer="lower", n_neurons=5, seed=9))
    file = txray.report(stages, tmp_path / "report.html", comparisons=pairs)
    visit = Visit.to(browser, file, "#neuron=7&pair=2")
    assert visit.page.locator("#detail .over tbody th").all_inner_texts() == ["before", "after"]
    assert visit.page.locator("#pair option").all_inner_texts() == [
        "before → after (lower)",
        "before → after (constructor)",
    ]
    assert picked(visit.page).startswith("Neuron 7 ")
    visit.page.select_option("#pair", "0")
    assert "There is no neuron 7" in visit.page.inner_text("#detail")
    assert len(listed(visit.page)) == 5
    visit.close()


@pytest.mark.parametrize("width", [390, 768, 1400])
def test_nothing_is_wider_than_the_screen(browser: Browser, file: Path, width: int) -> None:
    visit = Visit.to(browser, file, "#neuron=30&pair=1", width=width, height=844)
    visit.page.wait_for_selector(DRAWN)
    visit.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert visit.page.evaluate("document.documentElement.scrollWidth") == width
    # Both at once: figures that are still being drawn move them between two questions.
    end, start = visit.page.evaluate(
        "[document.getElementById('list').getBoundingClientRect().bottom,"
        " document.getElementById('detail').getBoundingClientRect().top]"
    )
    assert (start >= end) == (width < 1100)
    visit.close()


def test_prints_the_story_and_the_picked_neuron(visit: Visit, tmp_path: Path) -> None:
    visit.page.wait_for_selector(DRAWN)
    visit.page.emulate_media(media="print")
    for hidden in ("nav", "#list", ".controls"):
        assert not visit.page.locator(hidden).first.is_visible()
    assert visit.page.locator("#detail h3").is_visible()
    visit.page.pdf(path=tmp_path / "report.pdf", format="A4")
    assert (tmp_path / "report.pdf").stat().st_size > 100_000


def test_a_dark_screen_gets_a_dark_page(browser: Browser, file: Path) -> None:
    light, dark = (
        browser.new_context(color_scheme=scheme).new_page()  # type: ignore[arg-type]
        for scheme in ("light", "dark")
    )
    for page in (light, dark):
        page.goto(file.as_uri())
    lightness = [
        page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]")
        for page in (light, dark)
    ]
    assert lightness[0] > 200
    assert lightness[1] < 50


def test_fifteen_hundred_neurons_and_four_stages(browser: Browser, tmp_path: Path) -> None:
    words = vocabulary(20_000)
    names = ("epoch-01", "epoch-48", "zero-shot", "sup")
    stages = [
        stage_of(name, words, n_words=120_000, n_neurons=1500, seed=seed, classifier=name == "sup")
        for seed, name in enumerate(names)
    ]
    for stage in stages:
        assert np.median(stage.preferences().lengths()) >= 25
        assert (stage.exemplars.group_by("neuron").len()["len"] >= 6).mean() > 0.99
    # It is the size that counts here: the tests of chance are as many, and each is as short as can be.
    pairs = [
        compare(before, after, permutations=0).test(permutations=100, splits=2, draws=1)
        for before, after in pairwise(stages)
    ]
    file = txray.report(stages, tmp_path / "report.html", comparisons=pairs)
    assert file.stat().st_size < 15_000_000
    visit = Visit.to(browser, file)
    page = visit.page
    assert page.locator("#rows tr").count() < 80
    page.click("#columns th[data-key=neuron] button")
    page.focus("#neurons")
    page.keyboard.press("End")
    assert picked(page).startswith("Neuron 1499 ")
    assert page.locator("#rows tr").count() < 80
    # Ratios on a shared machine: a step in the list of 1500 must not be slower than in a list of 20.
    steps = """(keys) => {
        const table = document.getElementById("neurons"), start = performance.now();
        for (let i = 0; i < 20; i++) {
            table.dispatchEvent(new KeyboardEvent("keydown", { key: keys[i % 2], bubbles: true }));
        }
        return performance.now() - start;
    }"""
    long = min(page.evaluate(steps, ["ArrowUp", "ArrowDown"]) for _ in range(5))
    page.fill("#query", words[7])
    few = int(page.inner_text("#shown").split()[0].replace(",", ""))
    assert 0 < few < 1500
    short = min(page.evaluate(steps, ["ArrowUp", "ArrowDown"]) for _ in range(5))
    assert long < 3 * short
    visit.close()
