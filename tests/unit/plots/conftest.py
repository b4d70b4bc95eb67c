"""Text to draw figures of."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page
from plotly.offline import get_plotlyjs

from tests.builders.figures import Text, plain_words
from tests.builders.hostile import IN_CORPORA


@pytest.fixture(scope="session")
def text() -> Text:
    """Ordinary words, 40 neurons."""
    return Text(plain_words(300))


@pytest.fixture(scope="session")
def hostile() -> Text:
    """Words that try to be more than words; 12 neurons."""
    return Text([*IN_CORPORA, *plain_words(40)], n_words=3000, n_neurons=12)


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """A page that figures can be drawn into, see `rendering.draw`."""
    opened = browser.new_page(viewport={"width": 1100, "height": 3000})
    opened.set_content('<body style="margin:0"><div id="figure"></div></body>')
    opened.add_script_tag(content=get_plotlyjs())
    yield opened
    opened.close()
