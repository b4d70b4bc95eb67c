"""Stages that change or vanish, and a dashboard that ends, while somebody looks."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, expect

import txray
from tests.browser.served import Visit, saved, warm
from tests.builders.stages import stage_of, vocabulary
from txray.preferences import Stage
from txray.web.dashboard import Dashboard

SOON = 10_000
"""Milliseconds in which a change is to be noticed."""


@dataclass
class Own:
    """A dashboard of one test."""

    dashboard: Dashboard
    folders: list[Path]
    visit: Visit


def free_port() -> int:
    """A port that nobody else looks for, so that a dashboard can come back to it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def small(name: str, n_neurons: int = 12, seed: int = 0) -> Stage:
    return stage_of(name, vocabulary(40), n_words=400, n_neurons=n_neurons, seed=seed)


@pytest.fixture
def own(browser: Browser, tmp_path: Path) -> Iterator[Own]:
    folders = saved([small("one", seed=1), small("two", seed=2)], tmp_path)
    with txray.serve(
        *folders, wait=False, port=free_port(), permutations=0, cache=tmp_path / "cache"
    ) as dashboard:
        warm(dashboard.url)
        visit = Visit.to(browser, dashboard.url)
        expect(visit.page.locator("#neurons-count")).to_have_text("12 neurons.")
        yield Own(dashboard, folders, visit)
        visit.close()


def test_a_stage_that_changes_is_noticed_and_loaded_again(own: Own) -> None:
    page = own.visit.page
    expect(page.locator("#changed")).to_be_hidden()
    for folder, stage in zip(own.folders, (small("one", 15, 3), small("two", 15, 4)), strict=True):
        stage.save(folder)
    notice = page.locator("#changed")
    expect(notice).to_be_visible(timeout=SOON)
    expect(notice).to_contain_text("stage-0")
    expect(notice).to_contain_text("changed")
    page.get_by_role("button", name="Reload").click()
    expect(notice).to_be_hidden()
    expect(page.locator("#neurons-count")).to_have_text("15 neurons.")
    expect(page.locator("#summary")).to_contain_text("of 15 neurons")


def test_a_stage_that_vanishes_is_noticed_and_may_come_back(own: Own) -> None:
    page = own.visit.page
    kept = own.folders[1].with_name("kept")
    shutil.move(own.folders[1], kept)
    notice = page.locator("#changed")
    expect(notice).to_be_visible(timeout=SOON)
    expect(notice).to_contain_text("stage-1")
    page.get_by_role("button", name="Reload").click()
    expect(notice).to_be_visible()
    # What needs the folder says that it is gone; the page stands.
    page.locator("#neurons-body tr[data-index='0'] a").click()
    expect(page.locator("#neuron-message")).to_contain_text("stage-1")
    shutil.move(kept, own.folders[1])
    expect(notice).to_be_hidden(timeout=SOON)
    page.get_by_role("button", name="Next →").click()
    expect(page.locator("#one-neuron")).to_be_visible()


def test_a_dashboard_that_ended_is_told_and_may_come_back(own: Own, tmp_path: Path) -> None:
    page = own.visit.page
    notice = page.locator(".gone")
    expect(notice).to_have_count(0)
    own.dashboard.close()
    expect(notice).to_be_visible(timeout=SOON)
    expect(notice).to_contain_text("still running?")
    assert page.locator("#neurons-body tr[data-id]").count() == 12
    port = urlsplit(own.dashboard.url).port
    with txray.serve(*own.folders, wait=False, port=port, permutations=0, cache=tmp_path / "cache"):
        expect(notice).to_be_hidden(timeout=SOON)
        page.locator(".chip.unpreferred").click()
        expect(page.locator("#neurons-count")).to_have_text("No neuron matches. Clear filters.")
        own.visit.forgive()
        own.visit.check()


def test_rows_that_do_not_come_are_told_by_the_table(own: Own) -> None:
    page = own.visit.page
    page.route("**/rows/**", lambda route: route.abort())
    page.locator("#neurons-head th[data-key=neuron] button").click()
    expect(page.locator("#neurons-count")).to_contain_text("The rows could not be loaded")
    expect(page.locator("#neurons-count")).to_contain_text("still running?")
    own.visit.forgive()
