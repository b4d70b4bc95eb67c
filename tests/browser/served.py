"""Stages to serve, a visit to a served dashboard, and what is asked of its pages."""

from __future__ import annotations

import csv
import io
import re
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import polars as pl
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Request, expect

from tests.builders.hostile import IN_PAGES
from tests.builders.stages import stage_of, vocabulary
from txray.analysis import compare
from txray.preferences import Stage

PATIENCE = 60_000
"""Milliseconds: results are made by processes of their own, on machines that do other things as well."""
expect.set_options(timeout=PATIENCE)
PERMUTATIONS = 200
PAGES = ("/", "/neuron?neuron=30", "/feature?word=%s", "/matching", "/sources")
"""Paths of all pages; the word is to be filled in."""


@dataclass
class Visit:
    """An open page of a dashboard and everything it did that it should not."""

    page: Page
    url: str
    alone: bool
    requests: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @classmethod
    def to(cls, browser: Browser, url: str, address: str = "", **options: Any) -> Visit:
        """Open an address in a context of its own.

        Args:
            browser: that opens it.
            url: of the dashboard.
            address: path and search, without the leading slash.
            options: of the context.
        """
        context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
        return cls.within(context, url, address, alone=True)

    @classmethod
    def within(cls, context: BrowserContext, url: str, address: str = "", *, alone: bool = False) -> Visit:
        """Open an address in a context that may hold other pages, and what they have loaded.

        Args:
            context: that opens it.
            url: of the dashboard.
            address: path and search.
            alone: whether the context ends with the visit.
        """
        visit = cls(context.new_page(), url, alone)
        page = visit.page
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: visit.requests.append(request.url))
        page.on("requestfailed", visit._note)
        page.on("response", lambda r: visit.failed.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        page.on("pageerror", lambda error: visit.problems.append(str(error)))
        page.on("console", lambda message: visit.problems.append(f"{message.type}: {message.text}"))
        page.on("dialog", lambda dialog: (visit.problems.append(dialog.message), dialog.dismiss()))
        visit.open(address)
        return visit

    def open(self, address: str = "") -> None:
        """Load an address anew."""
        self.page.goto(self.url + address.removeprefix("/"))
        ready(self.page)

    def check(self) -> None:
        """Fail if the page complained, asked another host, got no answer, or ran a word."""
        assert self.problems == []
        assert self.failed == []
        elsewhere = [url for url in self.requests if not url.startswith((self.url, "data:", "blob:"))]
        assert elsewhere == []
        assert not self.page.evaluate("'hacked' in window")

    def close(self) -> None:
        """Check, then leave."""
        try:
            self.check()
        finally:
            self.page.close()
            if self.alone:
                self.page.context.close()

    def forgive(self) -> None:
        """Forget what has gone wrong, where that was meant to."""
        self.problems.clear()
        self.failed.clear()

    def _note(self, request: Request) -> None:
        # Leaving a page ends what it was still asking for.
        if request.failure != "net::ERR_ABORTED":
            self.failed.append(f"{request.failure} {request.url}")


def path_of(page: Page) -> str:
    """Path and search of the address."""
    parts = urlsplit(page.url)
    return parts.path + (f"?{parts.query}" if parts.query else "")


def said(page: Page) -> dict[str, str]:
    """What the address says."""
    return dict(parse_qsl(urlsplit(page.url).query, keep_blank_values=True))


def bounds(page: Page, column: str) -> tuple[float, float]:
    """The bounds of a column in the address."""
    low, high = said(page)[column].split("..")
    return float(low), float(high)


def ready(page: Page) -> None:
    """Wait until the page has followed its address."""
    until(
        page,
        """(() => {
            const followed = document.querySelector("#main")?.dataset.followed ?? "";
            return followed.startsWith(`${location.pathname}${location.search} `) && followed.endsWith("ready");
        })()""",
    )


def until(page: Page, condition: str, argument: Any = None) -> None:
    """Wait for a condition; playwright's own way needs `eval`, which the page forbids."""
    deadline = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(condition, argument):
        assert time.monotonic() < deadline, f"{condition} at {page.url}"
        page.wait_for_timeout(30)


def listed(page: Page, table: str = "neurons") -> list[str]:
    """Ids of all rows of a table in their order, read from a window high enough to hold them all."""
    view = f"document.getElementById('{table}-view')"
    page.evaluate(f"{view}.style.height = '100000px'")
    rows = f"[...document.querySelectorAll('#{table}-body tr[data-index]')]"
    grid = f"document.getElementById('{table}-table')"
    until(page, f"{grid}.ariaBusy !== 'true'")
    number = f"{grid}.ariaRowCount - 1"
    until(page, f"{rows}.length === {number} && {rows}.every((row) => row.dataset.id)")
    found = page.evaluate(f"{rows}.map((row) => row.dataset.id)")
    page.evaluate(f"{view}.style.height = ''")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return list(found)


def lists(page: Page, wanted: Sequence[str]) -> None:
    """Wait until the table of neurons holds these, in any order."""
    deadline = time.monotonic() + PATIENCE / 1000
    while sorted(found := listed(page)) != sorted(wanted):
        assert time.monotonic() < deadline, (found, wanted)
        page.wait_for_timeout(50)


def figure(page: Page, name: str) -> Locator:
    """The drawn figure of a panel, in view."""
    plot = page.locator(f"#{name}-figure .js-plotly-plot")
    plot.wait_for()
    # In the middle, away from the bar at the top that stays there.
    plot.evaluate("(plot) => plot.scrollIntoView({ block: 'center' })")
    return plot


def drawn(page: Page, name: str) -> Locator:
    """A panel of neurons when it has marks, in view."""
    plot = figure(page, name)
    plot.locator(".scatterlayer .point, .barlayer .point, .hm").first.wait_for()
    return plot


def point_at(page: Page, place: Locator) -> str:
    """Move the mouse to the middle of a mark; what it then tells."""
    box = place.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    told = page.locator(".hoverlayer .hovertext").first
    told.wait_for()
    return told.text_content() or ""


def click_here(page: Page, place: Locator) -> None:
    """Click in the middle of a mark that the mouse points at: plotly clicks what it tells of."""
    box = place.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def shows_neuron(page: Page, neuron: int | str) -> None:
    """Wait for the page of a neuron."""
    title = re.compile(
        rf"^Neuron {neuron} (in both stages|only before|only after|in neither|undecided|in use)$"
    )
    expect(page.locator("#page-neuron").get_by_role("heading", name=title)).to_be_visible()


def drag(page: Page, name: str, low: tuple[float, float], high: tuple[float, float]) -> None:
    """Draw a box into a panel with the mouse.

    Args:
        page: that shows it.
        name: of the figure.
        low, high: opposite corners, as shares of the plotting area from its lower left corner.
    """
    box = drawn(page, name).locator(".nsewdrag").first.bounding_box()
    assert box is not None
    (x, y), (x_end, y_end) = (
        (box["x"] + box["width"] * across, box["y"] + box["height"] * (1 - up)) for across, up in (low, high)
    )
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move((x + x_end) / 2, (y + y_end) / 2, steps=4)
    page.mouse.move(x_end, y_end, steps=4)
    page.mouse.up()


def fetched(url: str, address: str) -> str:
    """What the dashboard answers at an address."""
    with urllib.request.urlopen(f"{url}{address}", timeout=PATIENCE / 1000) as answer:
        return str(answer.read().decode())


def exported(url: str, search: str = "", name: str = "neurons") -> list[dict[str, str]]:
    """A table that the dashboard saves, when it can."""
    deadline = time.monotonic() + 2 * PATIENCE / 1000
    while True:
        with suppress(urllib.error.HTTPError):
            return list(csv.DictReader(io.StringIO(fetched(url, f"export/{name}.csv{search}"))))
        assert time.monotonic() < deadline, f"{name} {search}"
        time.sleep(0.1)


def warm(url: str, *searches: str) -> None:
    """Have everything made that some views show, tests included."""
    deadline = time.monotonic() + 2 * PATIENCE / 1000
    for search in searches:
        while not all(row["confident_state"] for row in exported(url, search)):
            assert time.monotonic() < deadline, search
            time.sleep(0.1)
        exported(url, search, "tags")


def plain(before: Stage, after: Stage, layer: str = "rnn") -> pl.DataFrame:
    """One row per neuron, compared and tested without the dashboard, with the id that its row has."""
    found = compare(before, after, layer=layer, fdr=0.05, permutations=PERMUTATIONS).neurons
    return found.with_columns(
        id=pl.format("{}/{}", pl.lit(layer), "neuron"), shown=pl.col("confident_state").cast(pl.String)
    )


def layered_stages() -> list[Stage]:
    """Two stages of three layers, and one of a single layer of another size."""
    words = vocabulary(60)
    stages = []
    for number, name in enumerate(("young", "old")):
        parts = [
            stage_of(
                name,
                words,
                layer=layer,
                n_neurons=12 + 2 * i,
                silent=range(i + number),
                seed=10 * number + i,
            )
            for i, layer in enumerate(("lower", "middle", "upper"))
        ]
        collected = {key: value for part in parts for key, value in part.collected.items()}
        exemplars = pl.concat([part.exemplars for part in parts])
        stages.append(Stage(name, collected, exemplars, parts[0].manifest, parts[0].tags))
    return [*stages, stage_of("other", words, layer="tall", n_neurons=21, seed=77)]


def hostile_stages() -> list[Stage]:
    """Three stages in which every word, tag, name and label is hostile."""
    names = (IN_PAGES[1], IN_PAGES[0], f"{IN_PAGES[3]}{IN_PAGES[4]}\u202e")
    layer = f"{IN_PAGES[8]}{IN_PAGES[3]}"
    made = [
        stage_of(
            name,
            IN_PAGES,
            n_words=900,
            n_neurons=24,
            silent=(3 * seed,),
            layer=layer,
            tags=IN_PAGES,
            preference=0.9,
            seed=seed,
        )
        for seed, name in enumerate(names)
    ]
    return [
        Stage(
            stage.name,
            stage.collected,
            stage.exemplars.with_columns(
                document=pl.lit(IN_PAGES[0]), output=pl.lit(IN_PAGES[1]), label=pl.lit(IN_PAGES[8])
            ),
            {**stage.manifest, "corpus": {"name": IN_PAGES[0]}, "model": {"type": IN_PAGES[1]}},
            stage.tags,
        )
        for stage in made
    ]


def saved(stages: Sequence[Stage], folder: Path) -> list[Path]:
    """Folders that hold these stages, one each."""
    return [stage.save(folder / f"stage-{number}") for number, stage in enumerate(stages)]
