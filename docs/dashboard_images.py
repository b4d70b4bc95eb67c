"""Take the pictures of docs/dashboard.md: `python docs/dashboard_images.py out/demo` after `make demo`."""

from __future__ import annotations

import json
import sys
import tempfile
import time
import urllib.request
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
  const page = document.querySelector("main section:not([hidden])");
  if (!followed.endsWith("ready") || !page || page.querySelector("[aria-busy=true]")) return false;
  return [...page.querySelectorAll(".card:not([hidden]) .plot")].every((plot) => plot.querySelector(".main-svg"));
})()"""


def wait_for_tests(url: str) -> None:
    """Wait until the tests of all neurons are done."""
    while True:
        with urllib.request.urlopen(f"{url}rows/neurons?number=500", timeout=60) as response:
            rows = json.load(response)["rows"]
        if rows and all(row["shown"] != "untested" for row in rows):
            return
        time.sleep(1)


def take(page: Page, url: str, name: str, path: str, height: int, folder: Path) -> None:
    """Open a page, wait until everything is drawn, and save a picture of it."""
    page.set_viewport_size({"width": WIDTH, "height": height})
    page.goto(url.rstrip("/") + path)
    end = time.monotonic() + 60
    # Not `wait_for_function`, which needs `eval`; the pages forbid it.
    while not page.evaluate(READY):
        if time.monotonic() > end:
            raise SystemExit(f"{path}: not drawn within a minute")
        page.wait_for_timeout(200)
    # Words and labels of the figures follow.
    page.wait_for_timeout(4_000)
    page.screenshot(path=folder / f"dashboard-{name}.png")


def main(stages: list[str], folder: Path = IMAGES) -> None:
    """Serve the stages and save all pictures."""
    with (
        tempfile.TemporaryDirectory() as cache,
        txray.serve(*stages, wait=False, cache=cache) as dashboard,
        sync_playwright() as play,
    ):
        wait_for_tests(dashboard.url)
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
