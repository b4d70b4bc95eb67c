"""What the dashboard saves: pictures, pages and tables."""

from __future__ import annotations

import csv
import re
import struct
from pathlib import Path

import polars as pl
from playwright.sync_api import Browser, BrowserContext, Locator, expect

from tests.browser.conftest import Served
from tests.browser.served import Visit, drawn, plain


def saved(visit: Visit, button: Locator, folder: Path) -> Path:
    """The file that a click on a button saves."""
    with visit.page.expect_download() as download:
        button.click()
    file = folder / download.value.suggested_filename
    download.value.save_as(file)
    return file


def saves(visit: Visit, name: str) -> Locator:
    """The ways to save a figure, opened."""
    drawn(visit.page, name)
    place = visit.page.locator(f"#{name}-card .save")
    if place.get_attribute("open") is None:
        place.locator("summary").click()
    return place


def test_pictures_are_saved_with_their_words(visit: Visit, tmp_path: Path) -> None:
    for name in ("scatter", "tags"):
        place = saves(visit, name)
        finding = visit.page.inner_text(f"#{name}-finding")
        png = saved(visit, place.get_by_role("button", name="PNG"), tmp_path)
        assert png.name == f"{name}.png"
        data = png.read_bytes()
        assert data.startswith(b"\x89PNG")
        assert struct.unpack(">II", data[16:24])[0] == 2000
        svg = saved(visit, place.get_by_role("button", name="SVG"), tmp_path)
        assert svg.name == f"{name}.svg"
        text = svg.read_text(encoding="utf-8")
        assert text.startswith("<svg")
        words = re.sub(r"\s+", " ", " ".join(re.findall(r">([^<>]+)<", text)))
        assert finding in words
        assert "stages zero-shot, sup · layer rnn" in words


def test_a_saved_page_shows_its_figure_without_a_server(
    browser: Browser, visit: Visit, tmp_path: Path
) -> None:
    file = saved(visit, saves(visit, "shift").get_by_role("link", name="HTML"), tmp_path)
    assert file.name == "shift.html"
    context = browser.new_context(offline=True)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    expect(page.locator(".main-svg").first).to_be_visible()
    assert page.locator(".scatterlayer .point").count() > 20
    # A line of the title ends without a space.
    finding = visit.page.inner_text("#shift-finding")
    assert re.sub(r"\s+", "", finding) in re.sub(r"\s+", "", page.inner_text("body"))
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    context.close()


def test_a_saved_table_holds_what_is_drawn(visit: Visit, served: Served, tmp_path: Path) -> None:
    file = saved(visit, saves(visit, "shift").get_by_role("link", name="CSV"), tmp_path)
    rows = list(csv.DictReader(file.open(encoding="utf-8")))
    shared = plain(*served.stages[2:]).filter(pl.col("state") == "shared")
    assert [(int(row["neuron"]), int(row["length_after"])) for row in rows] == list(
        shared.select("neuron", "length_after").iter_rows()
    )


def test_the_neurons_are_saved_as_they_are_filtered(
    context: BrowserContext, served: Served, tmp_path: Path
) -> None:
    visit = Visit.within(context, served.url, "?state=shared&length_after=28..&sort=neuron")
    expect(visit.page.locator("#neurons-count")).to_contain_text("neurons.")
    file = saved(visit, visit.page.get_by_role("link", name="Save as CSV"), tmp_path)
    assert file.name == "neurons.csv"
    rows = list(csv.DictReader(file.open(encoding="utf-8")))
    kept = plain(*served.stages[2:]).filter((pl.col("shown") == "shared") & (pl.col("length_after") >= 28))
    assert 0 < len(kept) < 60
    assert [int(row["neuron"]) for row in rows] == kept["neuron"].to_list()
    assert [float(row["hellinger"]) for row in rows] == kept["hellinger"].to_list()
    visit.close()
