"""Dashboards that are served while the tests of the browser run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, BrowserContext

import txray
from tests.browser.served import PERMUTATIONS, Visit, hostile_stages, layered_stages, warm
from tests.builders.stages import story
from tests.conftest import launched
from txray.preferences import Stage


@dataclass(frozen=True)
class Served:
    """Stages and the address of the dashboard that serves them."""

    stages: list[Stage]
    url: str


def _served(stages: list[Stage], folders: pytest.TempPathFactory, *searches: str) -> Iterator[Served]:
    cache = folders.mktemp("cache")
    with txray.serve(*stages, wait=False, permutations=PERMUTATIONS, cache=cache) as dashboard:
        warm(dashboard.url, *searches)
        yield Served(stages, dashboard.url)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Four stages of one layer."""
    yield from _served(story(), tmp_path_factory, "", "?feature_type=pos", "?before=epoch-01&after=epoch-48")


@pytest.fixture(scope="session")
def layered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two stages of three layers, and one that has none of them."""
    yield from _served(layered_stages(), tmp_path_factory, "?before=young&after=old")


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Stages in which every word is hostile."""
    yield from _served(hostile_stages(), tmp_path_factory, "")


@pytest.fixture(scope="package")
def browser(chromium: str) -> Iterator[Browser]:
    """One headless browser for all tests here."""
    with launched(chromium) as opened:
        yield opened


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """One context for the tests of a module, so that scripts are loaded once."""
    opened = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
    yield opened
    opened.close()


@pytest.fixture
def visit(context: BrowserContext, served: Served) -> Iterator[Visit]:
    """The overview of four stages, opened just now."""
    opened = Visit.within(context, served.url)
    yield opened
    opened.close()
