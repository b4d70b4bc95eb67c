"""The overview of the dashboard in a real browser: what a region, a chip, a mark or a choice does."""

from __future__ import annotations

import re
from collections.abc import Iterator

import polars as pl
import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.browser.conftest import Served
from tests.browser.served import (
    Visit,
    bounds,
    click_here,
    drag,
    drawn,
    figure,
    listed,
    lists,
    path_of,
    plain,
    point_at,
    ready,
    said,
    shows_neuron,
    until,
)
from txray.preferences import Stage

PANELS = {
    "scatter": ("hellinger_length", "distance"),
    "volcano": ("hellinger_corrected", "z_score"),
    "shift": ("length_before", "length_after"),
    "mass": ("", "mass_after"),
}
"""Panels -> the columns along their axes."""
EMPTY = {"scatter": (0.5, 0.95), "volcano": (0.97, 0.96), "shift": (0.04, 0.05), "mass": (0.95, 0.06)}
"""Where a panel has no mark, as shares of the plotting area from its upper left corner."""
FAINT = """(name) => [...document.querySelectorAll(`#${name}-figure .scatterlayer .point`)]
    .filter((point) => point.style.opacity > 0.01 && point.style.opacity < 0.1).length"""
PLACE = """([name, axis, value]) => {
    const along = document.querySelector(`#${name}-figure .js-plotly-plot`)._fullLayout[`${axis}axis`];
    return axis === "x" ? along.d2p(value) / along._length : 1 - along.d2p(value) / along._length;
}"""
"""Where a value lies, as a share of the plotting area from its left or lower edge."""


@pytest.fixture(scope="module")
def neurons(served: Served) -> pl.DataFrame:
    """The last two stages compared without the dashboard."""
    return plain(*served.stages[2:]).with_columns(distance=pl.col("distance_matched"))


@pytest.fixture
def wide(context: BrowserContext, layered: Served) -> Iterator[Visit]:
    """Two stages of three layers."""
    opened = Visit.within(context, layered.url, "?before=young&after=old")
    yield opened
    opened.close()


def within(neurons: pl.DataFrame, page: Page, *columns: str) -> pl.DataFrame:
    for column in columns:
        low, high = bounds(page, column)
        neurons = neurons.filter((pl.col(column) >= low) & (pl.col(column) <= high))
    return neurons


def measured(neurons: pl.DataFrame, panel: str) -> pl.DataFrame:
    """The neurons that have a mark in a panel."""
    if panel == "mass":
        return neurons.filter(pl.col("mass_after") > 0)
    if panel == "volcano":
        return neurons.filter(pl.all_horizontal(pl.col("q_value", *PANELS[panel]).is_not_null()))
    shared = neurons.filter(pl.col("state") == "shared")
    return shared.filter(pl.col("distance").is_not_null()) if panel == "scatter" else shared


def preferred_words(stage: Stage, neuron: int, kind: str = "token") -> list[str]:
    return list(stage.preferences(layer="rnn", feature_type=kind).table(neuron)["feature"])


@pytest.mark.parametrize("name", list(PANELS))
def test_a_region_keeps_the_neurons_inside_until_a_double_click(
    visit: Visit, neurons: pl.DataFrame, name: str
) -> None:
    page, columns = visit.page, [column for column in PANELS[name] if column]
    marks = measured(neurons, name)
    drawn(page, name)
    # Above the smallest value, which many neurons may share; less than 12 pixels select along the other axis only.
    ends = (0.05, 0.85) if name == "scatter" else (0.15, 0.85)
    rest = {column: marks[column].filter(marks[column] > marks[column].min()) for column in columns}
    wanted = {column: [float(rest[column].quantile(q) or 0) for q in ends] for column in columns}
    corners = [
        [
            page.evaluate(PLACE, [name, axis, wanted[column][end]]) if column else (0.1, 0.9)[end]
            for axis, column in zip("xy", PANELS[name], strict=True)
        ]
        for end in (0, 1)
    ]
    drag(page, name, (corners[0][0], corners[0][1]), (corners[1][0], corners[1][1]))
    until(page, "(columns) => columns.every((each) => location.search.includes(`${each}=`))", columns)
    assert set(said(page)) == set(columns)
    for column in columns:
        # To the pixel.
        reach = float(marks[column].max() or 0) - float(marks[column].min() or 0)  # type: ignore[arg-type]
        assert bounds(page, column) == pytest.approx(wanted[column], abs=0.04 * reach)
    expect(page.locator(".bound")).to_have_count(len(columns))
    inside = within(neurons, page, *columns)
    assert 0 < len(inside) < len(marks)
    for column in columns:
        low, high = bounds(page, column)
        assert (marks[column] < low).any()
        assert (marks[column] > high).any()
    lists(page, inside["id"].to_list())
    expect(page.locator("#neurons-count")).to_have_text(f"{len(inside)} neuron{'s' * (len(inside) > 1)}.")
    for panel in ("scatter", "volcano", "shift"):
        drawn(page, panel)
        marks = measured(neurons, panel)
        outside = marks.filter(~pl.col("id").is_in(inside["id"].implode()))
        until(page, f"(name) => ({FAINT})(name) === {len(outside)}", panel)
    alive = inside.filter(pl.col("mass_after") > 0)
    expect(figure(page, "mass").locator(".legendtext").last).to_have_text(f"selected ({len(alive)})")

    box = figure(page, name).locator(".nsewdrag").first.bounding_box()
    assert box is not None
    across, down = EMPTY[name]
    page.mouse.dblclick(box["x"] + box["width"] * across, box["y"] + box["height"] * down)
    until(page, "location.search === ''")
    expect(page.locator(".bound")).to_have_count(0)
    lists(page, neurons["id"].to_list())


def test_a_bound_can_be_taken_off_by_itself(
    context: BrowserContext, served: Served, neurons: pl.DataFrame
) -> None:
    visit = Visit.within(context, served.url, "?hellinger=0.3..0.7&length_after=20..")
    page = visit.page
    both = neurons.filter(pl.col("hellinger").is_between(0.3, 0.7))
    lists(page, both.filter(pl.col("length_after") >= 20)["id"].to_list())
    assert page.locator(".bound").all_inner_texts() == [
        "Hellinger distance 0.3 to 0.7 ×",
        "length after at least 20 ×",
    ]
    page.get_by_role("button", name="Remove: length after at least 20").click()
    lists(page, both["id"].to_list())
    assert said(page) == {"hellinger": "0.3..0.7"}
    visit.close()


def test_chips_keep_the_neurons_in_their_states(visit: Visit, neurons: pl.DataFrame) -> None:
    page = visit.page
    numbers = dict(neurons["shown"].value_counts().iter_rows())
    for state in ("shared", "avoided", "gained", "unpreferred", "undecided"):
        expect(page.locator(f".chip.{state} b")).to_have_text(str(numbers[state]))
    picked = []
    for state in ("gained", "avoided"):
        page.locator(f".chip.{state}").click()
        picked.append(state)
        lists(page, neurons.filter(pl.col("shown").is_in(picked))["id"].to_list())
        assert set(said(page)["state"].split(",")) == set(picked)
        expect(page.locator(f".chip.{state} input")).to_be_checked()
    page.locator(".chip.gained").click()
    lists(page, neurons.filter(pl.col("shown") == "avoided")["id"].to_list())
    page.get_by_role("button", name="Clear filters").click()
    lists(page, neurons["id"].to_list())
    assert said(page) == {}


def test_chips_answer_to_the_space_bar(visit: Visit) -> None:
    box = visit.page.get_by_role("checkbox", name=re.compile("in both stages"))
    box.focus()
    visit.page.keyboard.press(" ")
    until(visit.page, "location.search === '?state=shared'")
    ready(visit.page)
    expect(box).to_be_checked()
    expect(box).to_be_focused()


def test_a_search_keeps_the_neurons_that_prefer_a_token(visit: Visit, served: Served) -> None:
    page = visit.page
    stages = served.stages[2:]
    lists_of = {n: {name for stage in stages for name in preferred_words(stage, n)} for n in range(60)}
    word = next(w for w in sorted(lists_of[30]) if 0 < sum(w in held for held in lists_of.values()) < 20)
    page.get_by_label("Responds to the token").fill(word)
    page.keyboard.press("Enter")
    lists(page, [f"rnn/{n}" for n, held in lists_of.items() if word in held])
    assert said(page) == {"prefers": word}
    page.get_by_label("Responds to the token").fill("nowhere-at-all")
    page.keyboard.press("Enter")
    expect(page.locator("#neurons-count")).to_have_text("No neuron matches. Clear filters.")
    page.get_by_role("button", name="Clear filters").click()
    lists(page, [f"rnn/{n}" for n in range(60)])
    assert page.get_by_label("Responds to the token").input_value() == ""


def heaviest(stage: Stage, neuron: int) -> str | None:
    table = stage.preferences(layer="rnn", feature_type="pos").table(neuron).sort("sum", descending=True)
    return table["feature"][0] if len(table) else None


def test_a_tag_is_chosen_by_a_select_or_by_its_bar(visit: Visit, served: Served) -> None:
    page = visit.page
    top = {n: heaviest(served.stages[3], n) or heaviest(served.stages[2], n) for n in range(60)}
    page.get_by_label("Main part of speech").select_option("DT")
    lists(page, [f"rnn/{n}" for n, tag in top.items() if tag == "DT"])
    assert said(page) == {"top": "DT"}
    expect(page.locator("#tags-finding")).to_contain_text("of the selected neurons")
    tags = figure(page, "tags").locator(".xtick text").all_text_contents()
    bar = drawn(page, "tags").locator(".barlayer .point").nth(tags.index("NN"))
    assert "NN" in point_at(page, bar)
    click_here(page, bar)
    until(page, "location.search === '?top=NN'")
    lists(page, [f"rnn/{n}" for n, tag in top.items() if tag == "NN"])
    expect(page.get_by_label("Main part of speech")).to_have_value("NN")


def test_bounds_can_be_typed(visit: Visit, neurons: pl.DataFrame) -> None:
    page = visit.page
    page.get_by_label("Quantity").select_option("length_after")
    page.get_by_label("from", exact=True).fill("25")
    page.get_by_label("to", exact=True).fill("30")
    page.get_by_role("button", name="Add", exact=True).click()
    lists(page, neurons.filter(pl.col("length_after").is_between(25, 30))["id"].to_list())


def test_a_click_on_a_mark_opens_its_neuron(visit: Visit, neurons: pl.DataFrame) -> None:
    page = visit.page
    plot = drawn(page, "shift")
    mark = plot.locator(".scatterlayer .trace:has(.point) .point").first
    told = re.search(r"neuron (\d+): in both stages", point_at(page, mark))
    assert told is not None
    click_here(page, mark)
    until(page, "location.pathname === '/neuron'")
    opened, hovered = (neurons.row(int(number), named=True) for number in (said(page)["neuron"], told[1]))
    # Marks may lie on top of each other: then any of them is right.
    assert [opened[each] for each in PANELS["shift"]] == [hovered[each] for each in PANELS["shift"]]
    shows_neuron(page, said(page)["neuron"])


def test_a_click_on_a_row_opens_its_neuron(visit: Visit) -> None:
    page = visit.page
    page.locator("#neurons-head th[data-key=neuron] button").click()
    # Once it is sorted: a row that moves away under the mouse is not clicked.
    expect(page.locator("#neurons-body tr[data-index='3'][data-id='rnn/3']")).to_be_visible()
    page.locator("#neurons-body tr[data-id='rnn/3'] td[data-key=shown]").click()
    until(page, "location.pathname === '/neuron'")
    assert said(page)["neuron"] == "3"
    shows_neuron(page, 3)
    page.go_back()
    page.locator("#neurons-body tr[data-id='rnn/5'] td a").click()
    until(page, "location.search.includes('neuron=5')")
    shows_neuron(page, 5)


def test_the_table_is_walked_by_keyboard(visit: Visit) -> None:
    page = visit.page
    order = listed(page)
    page.get_by_label("Main part of speech").focus()
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "neurons-table":
            break
    expect(page.locator("#neurons-table")).to_be_focused()
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    row = page.locator("#neurons-body tr[aria-selected=true]")
    expect(row).to_have_attribute("data-id", order[2])
    assert page.get_attribute("#neurons-table", "aria-activedescendant") == row.get_attribute("id")
    page.keyboard.press("End")
    expect(row).to_have_attribute("data-id", order[-1])
    page.keyboard.press("Enter")
    until(page, "location.pathname === '/neuron'")
    assert said(page)["neuron"] == order[-1].split("/")[1]
    shows_neuron(page, said(page)["neuron"])


def test_the_table_is_sorted_by_its_headings(visit: Visit, neurons: pl.DataFrame) -> None:
    page = visit.page
    page.locator("#neurons-head th[data-key=length_after] button").click()
    until(page, "location.search === '?sort=-length_after'")
    lengths = dict(neurons.select("id", "length_after").iter_rows())
    until(page, "document.querySelector('#neurons-body tr[data-index]')?.dataset.id !== undefined")
    ready(page)
    descending = sorted(lengths, key=lambda each: (-lengths[each], int(each.split("/")[1])))
    until(page, f"document.querySelector('#neurons-body tr[data-index]').dataset.id === '{descending[0]}'")
    assert listed(page) == descending
    page.locator("#neurons-head th[data-key=length_after] button").click()
    rising = sorted(lengths, key=lambda each: (lengths[each], int(each.split("/")[1])))
    until(page, f"document.querySelector('#neurons-body tr[data-index]').dataset.id === '{rising[0]}'")
    assert listed(page) == rising
    expect(page.locator("#neurons-head th[data-key=length_after]")).to_have_attribute(
        "aria-sort", "ascending"
    )


def test_former_rows_are_marked_and_can_be_opened_until_others_arrive(visit: Visit) -> None:
    page = visit.page
    former = listed(page)
    held: list[Route] = []
    page.route("**/rows/neurons**", lambda route: held.append(route))
    page.locator("#neurons-head th[data-key=neuron] button").click()
    until(page, "location.search.includes('sort=neuron')")
    ready(page)
    expect(page.locator("#neurons-table")).to_have_attribute("aria-busy", "true")
    page.locator("#neurons-body tr[data-index='1'] td[data-key=length_after]").click()
    shows_neuron(page, former[1].split("/")[1])
    for route in held:
        route.continue_()
    page.go_back()
    expect(page.locator("#neurons-table")).not_to_have_attribute("aria-busy", "true")
    rows = listed(page)
    assert rows == sorted(rows, key=lambda each: int(each.split("/")[1])) != former


def test_stages_are_chosen_and_swapped(visit: Visit, served: Served) -> None:
    page = visit.page
    heading = page.locator("#summary h2")
    expect(heading).to_contain_text("zero-shot → sup")
    page.get_by_role("combobox", name="Before", exact=True).select_option("epoch-01")
    expect(heading).to_contain_text("epoch-01 → sup")
    page.get_by_role("combobox", name="After", exact=True).select_option("epoch-48")
    expect(heading).to_contain_text("epoch-01 → epoch-48")
    assert said(page) == {"before": "epoch-01", "after": "epoch-48"}
    shared = plain(*served.stages[:2]).filter(pl.col("shown") == "shared")
    expect(page.locator("#summary .numbers div").first).to_have_text(
        re.compile(rf"in both stages\s*{len(shared)}")
    )
    page.get_by_role("button", name="Swap").click()
    expect(heading).to_contain_text("epoch-48 → epoch-01")
    assert said(page) == {"before": "epoch-48", "after": "epoch-01"}
    expect(page.get_by_role("combobox", name="Before", exact=True)).to_have_value("epoch-48")


def test_choices_that_are_faster_than_the_server_all_count(visit: Visit) -> None:
    page = visit.page
    expect(page.locator("#summary h2")).to_contain_text("zero-shot → sup")
    page.evaluate(
        """() => {
            const choose = (name, value) => {
                const control = document.querySelector(`select[data-name=${name}]`);
                control.value = value;
                control.dispatchEvent(new Event("change"));
            };
            choose("Before", "epoch-01");
            choose("After", "epoch-48");
            for (const state of ["gained", "avoided"]) document.querySelector(`.chip.${state}`).click();
        }"""
    )
    expect(page.locator("#summary h2")).to_contain_text("epoch-01 → epoch-48")
    assert said(page) == {"before": "epoch-01", "after": "epoch-48", "state": "gained,avoided"}


def test_the_feature_kind_is_chosen(visit: Visit) -> None:
    page = visit.page
    page.get_by_label("Feature type").select_option("pos")
    until(page, "location.search === '?feature_type=pos'")
    # Seven tags: no neuron can prefer more.
    expect(page.get_by_label("Responds to the POS tag")).to_be_visible()
    lengths = (
        "[...document.querySelectorAll('#neurons-body td[data-key=length_after]')].map((c) => +c.textContent)"
    )
    until(page, f"{lengths}.length > 5 && Math.max(...{lengths}) <= 7")
    expect(drawn(page, "shift").locator(".ytitle")).to_contain_text("POS tag")


def test_a_layer_is_chosen(wide: Visit, layered: Served) -> None:
    page = wide.page
    expect(page.locator("#summary small")).to_have_text("3 layers")
    assert len(listed(page)) == 12 + 14 + 16
    expect(page.locator("#neurons-head th[data-key=layer]")).to_have_count(1)
    page.get_by_role("combobox", name="Layer", exact=True).select_option("middle")
    expect(page.locator("#summary small")).to_have_text("layer middle")
    lists(page, [f"middle/{n}" for n in range(14)])
    assert said(page)["layer"] == "middle"
    expect(page.locator("#neurons-head th[data-key=layer]")).to_have_count(0)
    page.get_by_role("combobox", name="Layer", exact=True).select_option("")
    expect(page.locator("#summary small")).to_have_text("3 layers")
    assert "layer" not in said(page)


def test_a_cell_of_the_heat_map_opens_its_layer(wide: Visit) -> None:
    page = wide.page
    plot = figure(page, "layers")
    plot.locator(".hm").first.wait_for()
    at = page.evaluate(
        """() => {
            const plot = document.querySelector("#layers-figure .js-plotly-plot");
            const box = plot.querySelector(".nsewdrag").getBoundingClientRect();
            const { xaxis, yaxis } = plot._fullLayout;
            const [across, down] = [xaxis.ticktext.indexOf("old"), yaxis.ticktext.indexOf("upper")];
            return [box.x + xaxis.d2p(across), box.y + yaxis.d2p(down)];
        }"""
    )
    page.mouse.move(*at)
    expect(plot.locator(".hovertext").first).to_contain_text("upper in old")
    page.mouse.click(*at)
    until(page, "location.search.includes('layer=upper')")
    assert said(page) == {"before": "young", "after": "old", "layer": "upper"}
    lists(page, [f"upper/{n}" for n in range(16)])
    assert path_of(page).startswith("/?")


def test_a_mark_among_several_layers_opens_the_right_one(wide: Visit) -> None:
    page = wide.page
    plot = drawn(page, "scatter")
    mark = plot.locator(".scatterlayer .trace:has(.point) .point").first
    told = re.search(r"(lower|middle|upper), neuron (\d+): ", point_at(page, mark))
    assert told is not None
    click_here(page, mark)
    until(page, "location.pathname === '/neuron'")
    assert (said(page)["layer"], said(page)["neuron"]) == (told[1], told[2])
