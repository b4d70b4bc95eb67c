"""Text, stages and a browser to draw with."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.unit.plots.builders import HOSTILE, Text, plain_words


@pytest.fixture(scope="session")
def text() -> Text:
    """Ordinary words, 40 neurons."""
    return Text(plain_words(300))


@pytest.fixture(scope="session")
def hostile() -> Text:
    """Words that try to be more than words; 12 neurons."""
    return Text([*HOSTILE, *plain_words(40)], n_words=3000, n_neurons=12)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium or Chrome; its absence fails only under CI."""
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        found = shutil.which(name)
        if found:
            return found
    message = "no Chromium or Chrome on the PATH"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    """One headless browser for all tests."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()
