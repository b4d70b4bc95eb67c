"""The table that draws only what is in view, over rows from anywhere, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.parts import small_page

COLUMNS = """[
    { key: "name", heading: "Name", about: "Of the row", show: (row) => row.name, risingFirst: true },
    { key: "size", heading: "Size", about: "Of the row", show: (row) => node("b", {}, row.name.length + "") },
    {
        key: "link", heading: "Link", about: "Elsewhere", sortable: false,
        show: () => node("a", { href: "#there" }, "x"),
    },
]"""
LOCAL = """(length) => {
    const row = (index) => ({ id: `<${index}> ' "`, name: `row ${index}`, faint: index % 2 === 1 });
    table.use(%s, { key: "size", falling: true });
    table.setRows({
        length, at: (index) => (index < 0 ? undefined : row(index)), indexOf: (id) => Number(id.match(/\\d+/)[0]),
    });
}""".replace("%s", COLUMNS)
SERVER = """() => {
    // Rows of a hundred at a time, when the test lets them arrive.
    window.loaded = new Map();
    window.wanted = [];
    window.arrive = () => {
        for (const [first, last] of wanted.splice(0)) {
            for (let i = first; i < last; i++) loaded.set(i, { id: String(i), name: `row ${i}` });
        }
        table.refresh();
    };
    table.use(%s, null);
    table.setRows({ length: 10_000, at: (index) => loaded.get(index), want: (...range) => wanted.push(range) });
}""".replace("%s", COLUMNS)
PICKED_IN_VIEW = """() => {
    const row = document.querySelector("#rows tr[aria-selected=true]").getBoundingClientRect();
    const list = document.getElementById("list").getBoundingClientRect();
    const head = document.getElementById("columns").getBoundingClientRect();
    return row.top >= head.bottom - 1 && row.bottom <= list.bottom + 1;
}"""


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with small_page(browser) as opened:
        yield opened


def told(page: Page) -> list[list[Any]]:
    """What the table told since the last question."""
    return list(page.evaluate("told.splice(0)"))


def settle(page: Page) -> None:
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def test_two_hundred_thousand_rows_of_which_few_exist(page: Page) -> None:
    page.evaluate(LOCAL, 200_000)
    page.focus("#neurons")
    page.keyboard.press("Home")
    page.keyboard.press("PageDown")
    page.keyboard.press("End")
    assert [event for event, _ in told(page)] == ["pick"] * 3
    assert page.inner_text("#rows tr[aria-selected=true] td").startswith("row 199999")
    assert page.get_attribute("#neurons", "aria-rowcount") == "200001"
    assert page.get_attribute("#rows tr[aria-selected=true]", "aria-rowindex") == "200001"
    assert page.evaluate(PICKED_IN_VIEW)
    settle(page)
    assert page.locator("#rows tr").count() < 50
    page.keyboard.press("ArrowUp")
    assert told(page) == [["pick", "<199998> ' \""]]
    active = page.get_attribute("#neurons", "aria-activedescendant")
    assert page.evaluate("(id) => document.getElementById(id).dataset.index", active) == "199998"


def test_rows_are_picked_by_any_id_and_faint_rows_are_marked(page: Page) -> None:
    page.evaluate(LOCAL, 100)
    page.click("#rows tr[data-index='3'] td")
    assert told(page) == [["pick", "<3> ' \""]]
    assert page.get_attribute("#rows tr[data-index='3']", "class") == "faint"
    page.keyboard.press("Enter")
    assert told(page) == [["enter", "<3> ' \""]]
    page.evaluate("table.mark(`<90> ' \"`)")
    assert page.evaluate("table.view.scrollTop") == 0
    assert page.locator("#rows tr[aria-selected=true]").count() == 0
    page.keyboard.press("ArrowDown")
    assert told(page) == [["pick", "<91> ' \""]]
    assert page.evaluate(PICKED_IN_VIEW)
    page.evaluate("table.mark(null)")
    page.keyboard.press("Enter")
    assert told(page) == []
    assert page.get_attribute("#neurons", "aria-activedescendant") is None


def test_a_row_that_the_source_does_not_hold_is_entered_by_its_id(page: Page) -> None:
    page.evaluate(SERVER)
    page.evaluate("table.mark('elsewhere')")
    page.focus("#neurons")
    page.keyboard.press("Enter")
    assert told(page) == [["enter", "elsewhere"]]


def test_links_in_rows_stay_links(page: Page) -> None:
    page.evaluate(LOCAL, 10)
    page.click("#rows tr[data-index='2'] a")
    assert told(page) == []
    assert page.evaluate("location.hash") == "#there"


def test_headings_ask_for_an_order_and_leave_it_to_others(page: Page) -> None:
    page.evaluate(LOCAL, 10)
    assert page.locator("#columns button").count() == 2
    assert page.get_attribute("#columns [data-key=size]", "aria-sort") == "descending"
    before = page.inner_text("#rows")
    for key, falling in (("size", False), ("size", True), ("name", False), ("name", True), ("size", True)):
        page.click(f"#columns [data-key={key}] button")
        assert told(page) == [["sort", key, falling]]
        order = page.get_attribute(f"#columns [data-key={key}]", "aria-sort")
        assert order == ("descending" if falling else "ascending")
        assert page.locator("#columns [aria-sort]").count() == 1
    assert page.inner_text("#rows") == before
    page.focus("#columns [data-key=name] button")
    page.evaluate(f"table.use({COLUMNS}, null)")
    assert page.evaluate("document.activeElement.textContent") == "Name"
    assert page.locator("#columns [aria-sort]").count() == 0
    page.keyboard.press("Enter")
    assert told(page) == [["sort", "name", False]]


def test_rows_that_have_not_arrived_are_empty(page: Page) -> None:
    page.evaluate(SERVER)
    assert page.locator("#rows tr[aria-busy=true]").count() > 5
    assert page.inner_text("#rows").strip() == ""
    first, last = page.evaluate("wanted.at(-1)")
    assert first == 0
    assert 10 < last < 40
    page.evaluate("arrive()")
    assert page.locator("#rows tr[aria-busy=true]").count() == 0
    assert page.inner_text("#rows tr[data-index='0'] td").startswith("row 0")
    page.evaluate("table.view.scrollTop = 100_000")
    settle(page)
    assert page.locator("#rows tr[aria-busy=true]").count() > 5
    first, last = page.evaluate("wanted.at(-1)")
    assert first < 100_000 / 34 < last
    page.evaluate("arrive()")
    settle(page)
    assert page.evaluate("table.view.scrollTop") == 100_000
    assert page.locator("#rows tr[aria-busy=true]").count() == 0
    page.evaluate("table.setRows(table.source)")
    assert page.evaluate("table.view.scrollTop") == 0


def test_a_row_is_picked_when_it_arrives(page: Page) -> None:
    page.evaluate(SERVER)
    page.evaluate("arrive()")
    page.focus("#neurons")
    page.keyboard.press("Home")
    assert told(page) == [["pick", "0"]]
    page.keyboard.press("End")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    # The answer to the last pick comes late and must not call the walker back.
    page.evaluate("table.mark('0')")
    assert told(page) == []
    active = page.get_attribute("#neurons", "aria-activedescendant")
    assert page.get_attribute(f"#{active}", "aria-busy") == "true"
    assert page.get_attribute(f"#{active}", "data-index") == "9998"
    page.evaluate("arrive()")
    assert told(page) == [["pick", "9998"]]
    assert page.evaluate(PICKED_IN_VIEW)
    page.evaluate("arrive()")
    assert told(page) == []


def test_a_click_on_a_row_that_has_not_arrived_picks_it_later(page: Page) -> None:
    page.evaluate(SERVER)
    page.click("#rows tr[data-index='4'] td")
    assert told(page) == []
    page.evaluate("arrive()")
    assert told(page) == [["pick", "4"]]


def test_another_list_forgets_what_was_awaited(page: Page) -> None:
    page.evaluate(SERVER)
    page.click("#rows tr[data-index='4'] td")
    page.evaluate(LOCAL, 3)
    page.evaluate("table.refresh()")
    assert told(page) == []
    page.evaluate(LOCAL, 0)
    page.keyboard.press("ArrowDown")
    assert told(page) == []
    assert page.get_attribute("#neurons", "aria-rowcount") == "1"


def test_rows_that_change_places_keep_the_mark(page: Page) -> None:
    page.evaluate(SERVER)
    page.evaluate("arrive()")
    page.click("#rows tr[data-index='4'] td")
    told(page)
    page.evaluate("""() => {
        const rows = [...loaded.values()].reverse();
        rows.forEach((row, index) => loaded.set(index, row));
        table.refresh();
    }""")
    at = int(page.get_attribute("#rows tr[aria-selected=true]", "data-index") or "-1")
    assert page.get_attribute("#rows tr[aria-selected=true]", "data-id") == "4"
    assert at != 4
    page.keyboard.press("ArrowDown")
    assert told(page) == [["pick", "3"]]
