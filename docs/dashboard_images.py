"""Take the pictures of docs/dashboard.md: `python docs/dashboard_images.py out/demo` after `make demo`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

import txray

IMAGES = Path(__file__).parent / "images"
WIDTH = 1440
BROWSER = "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu"]

PICTURES = {
    "overview": ("/", 1620, "light"),
    "dark": ("/?hellinger=0.6..0.85&state=shared", 1620, "dark"),
    "neuron": ("/neuron?layer=rnn&neuron={neuron}", 1900, "light"),
    "feature": ("/feature?word=great", 900, "light"),
    "matching": ("/matching", 1000, "light"),
    "sources": ("/sources", 560, "light"),
}
"""Name of each picture -> path, height in pixels, theme."""

READY = """(() => {
  const followed = document.querySelector("#main")?.dataset.followed ?? "";
  const cards = [...document.querySelectorAll("main section:not([hidden]) .card:not([hidden])")];
  const drawn = cards.every((card) => !card.querySelector(".plot") || card.querySelector(".main-svg"));
  const idle = document.querySelector("#job-status")?.textContent === "";
  const waiting = document.querySelector("main .empty, main [aria-busy=true]");
  const filled = cards.length > 0 || location.pathname === "/sources";
  return followed.endsWith("ready") && filled && drawn && idle && !waiting;
})()"""


def take(page: Page, url: str, name: str, path: str, height: int, folder: Path) -> None:
    """Open a page, wait until everything is drawn, and save a picture of it."""
    page.set_viewport_size({"width": WIDTH, "height": height})
    page.goto(url.rstrip("/") + path)
    # Not `wait_for_function`, which needs `eval`; the pages forbid it.
    while not page.evaluate(READY):
        page.wait_for_timeout(200)
    page.wait_for_timeout(1_500)
    page.screenshot(path=folder / f"dashboard-{name}.png")


def main(stages: list[str], folder: Path = IMAGES) -> None:
    """Serve the stages and save all pictures."""
    with (
        tempfile.TemporaryDirectory() as cache,
        txray.serve(*stages, wait=False, cache=cache) as dashboard,
        sync_playwright() as play,
    ):
        browser = play.chromium.launch(executable_path=BROWSER, args=FLAGS)
        for name, (path, height, theme) in PICTURES.items():
            page = browser.new_page(color_scheme=theme)
            if "{neuron}" in path:
                page.goto(dashboard.url)
                row = page.locator("#neurons-body tr[data-index='0'][data-id]")
                row.wait_for()
                path = path.format(neuron=row.get_attribute("data-id").split("/")[1])
            take(page, dashboard.url, name, path, height, folder)
            page.close()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
