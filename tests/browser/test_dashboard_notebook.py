"""The dashboard in a frame of somebody else's page, as notebooks show it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import Browser, Error, expect

from tests.browser.conftest import Served
from txray.web.dashboard.server import Dashboard


@pytest.fixture
def notebook(tmp_path: Path, served: Served) -> Iterator[str]:
    """Where a page that holds what a notebook is given is served: another site of the same machine."""
    shown = Dashboard.__new__(Dashboard)
    shown.url = served.url
    (tmp_path / "index.html").write_text(f"<!doctype html><title>notebook</title>{shown._repr_html_()}")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://localhost:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_frame_of_another_site_shows_everything(browser: Browser, notebook: str) -> None:
    context = browser.new_context(viewport={"width": 1200, "height": 900}, color_scheme="light")
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.goto(notebook)
    # This browser keeps nothing for a frame of another site.
    with pytest.raises(Error, match="Access is denied"):
        page.frames[1].evaluate("window.localStorage.length")
    frame = page.frame_locator("iframe[title='txray dashboard']")
    expect(frame.locator("#scatter-figure .main-svg").first).to_be_visible()
    frame.locator("#theme-switch").click()
    frame.locator("#neurons-body tr[data-id] a").first.click()
    expect(frame.locator("#neuron-head")).not_to_be_empty()
    expect(frame.locator("html")).to_have_attribute("data-theme", "dark")
    assert [text for text in problems if "404" not in text] == []
    context.close()
