"""The dashboard over a large model: first paint, clicks, memory, many clients at once.

    python -m benchmarks.dashboard [FOLDER]

FOLDER holds the stages and results (made where missing: some 3 GB of stages, 1 GB of results); a temporary one else.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from urllib.request import Request, urlopen

from benchmarks.many_layers import LAYERS, NEURONS, STAGES, make_stages

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
CLIENTS = 20
LAYER = "layers.30.mlp"

VIEWS: Mapping[str, tuple[str, str]] = {
    "overview, all layers": ("/", ""),
    "one layer": ("/", f"?layer={LAYER}"),
    "two states": ("/", "?state=avoided,gained"),
    "a region": ("/", "?hellinger_length=20..40&hellinger=0.2..0.7"),
    "neurons that prefer a word": ("/", "?prefers=word00100"),
    "neurons that fire most on a tag": ("/", "?top=TAG03"),
    "sorted by name": ("/", "?sort=beyond_after"),
    "a neuron": ("/neuron", f"?layer={LAYER}&neuron=17"),
    "a frequent word": ("/feature", "?word=word00000"),
    "a rare word": ("/feature", "?word=word12345"),
    "sources": ("/sources", ""),
}
"""What somebody clicks to -> path and search."""


@dataclass
class Client:
    """Requests of a browser to the server.

    Attributes:
        url: of the dashboard.
        callbacks: those that the server answers.
    """

    url: str
    callbacks: list[dict[str, Any]]

    @classmethod
    def of(cls, url: str) -> Client:
        """A client that knows what can be asked."""
        every = json.loads(_get(f"{url}_dash-dependencies"))
        ours = [callback for callback in every if not callback.get("clientside_function")]
        return cls(url, [callback for callback in ours if any(i["id"] == "url" for i in callback["inputs"])])

    def click(self, path: str, search: str, theme: str = "light") -> dict[str, float]:
        """Milliseconds that the server takes for each request of a view, one after the other."""
        values = {"url.pathname": path, "url.search": search, "theme.data": theme, "version.data": "1"}
        times = {}
        for callback in self.callbacks:
            output = callback["output"]
            parts = output.strip(".").split("...") if output.startswith("..") else [output]
            body = {
                "output": output,
                "outputs": [
                    dict(zip(("id", "property"), part.rsplit(".", 1), strict=True)) for part in parts
                ],
                "inputs": [{**i, "value": values[f"{i['id']}.{i['property']}"]} for i in callback["inputs"]],
                "changedPropIds": ["url.search"],
                "state": [],
            }
            if not callback["output"].startswith(".."):
                body["outputs"] = body["outputs"][0]
            started = time.perf_counter()
            answer = _post(f"{self.url}_dash-update-component", body)
            if answer:
                times[parts[0]] = 1000 * (time.perf_counter() - started)
        if path == "/":
            started = time.perf_counter()
            _get(f"{self.url}rows/neurons{search or '?'}&start=400&number=200")
            times["rows"] = 1000 * (time.perf_counter() - started)
        return times


def _get(url: str) -> bytes:
    with urlopen(url, timeout=60) as answer:
        return bytes(answer.read())


def _post(url: str, body: Mapping[str, Any]) -> bytes:
    request = Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=60) as answer:
        return bytes(answer.read())


class Served:
    """`txray serve` as a process of its own."""

    def __init__(self, stages: list[Path], cache: Path) -> None:
        """Start it, and wait until it listens."""
        started = time.perf_counter()
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "txray",
                "serve",
                *map(str, stages),
                "--no-browser",
                "--cache",
                str(cache),
                "--port",
                "8071",
            ],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        self.seconds = time.perf_counter() - started

    def doing(self) -> str:
        """Return the status of the jobs."""
        body = {
            "output": "..version.data...job-status.children...tick.interval...changed-message.children...changed.hidden..",
            "outputs": [
                {"id": name, "property": what}
                for name, what in (
                    ("version", "data"),
                    ("job-status", "children"),
                    ("tick", "interval"),
                    ("changed-message", "children"),
                    ("changed", "hidden"),
                )
            ],
            "inputs": [
                {"id": "tick", "property": "n_intervals", "value": 1},
                {"id": "reload", "property": "n_clicks", "value": None},
            ],
            "changedPropIds": ["tick.n_intervals"],
            "state": [{"id": "version", "property": "data", "value": ""}],
        }
        answer = json.loads(_post(f"{self.url}_dash-update-component", body))
        return str(answer["response"]["job-status"]["children"])

    def memory(self) -> Iterator[tuple[str, float]]:
        """MiB that the server and its processes hold, and have held at most."""
        every = subprocess.run(
            ["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True
        ).stdout
        own = str(self.process.pid)
        for line in every.splitlines()[1:]:
            pid, parent, what = line.split(None, 2)
            if own in (pid, parent):
                status = Path(f"/proc/{pid}/status").read_text()
                current, peak = (
                    next(int(row.split()[1]) / 1024 for row in status.splitlines() if row.startswith(name))
                    for name in ("VmRSS", "VmHWM")
                )
                yield ("server" if pid == own else "worker"), current
                yield ("server, at most" if pid == own else "worker, at most"), peak
                del what

    def close(self) -> None:
        """End it as Ctrl-C does."""
        self.process.send_signal(2)
        self.process.wait(timeout=20)


_WATCH = """
window.painted = {};
const wanted = {
  headline: () => document.querySelector("#summary .numbers"),
  table: () => document.querySelector("#neurons-body tr[data-id]"),
  pictures: () => document.querySelectorAll("#page-overview .card:not([hidden]) .main-svg").length >= 7 * 2,
};
const look = () => {
  for (const [name, there] of Object.entries(wanted)) {
    if (!(name in window.painted) && there()) window.painted[name] = performance.now() / 1000;
  }
  requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""


def first_paint(url: str) -> dict[str, float]:
    """Seconds from opening the address to the first frame with words, headline, table, pictures, in a new browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.add_init_script(_WATCH)
        page.goto(url)
        page.wait_for_function("() => Object.keys(window.painted).length === 3")
        seconds: dict[str, float] = page.evaluate(
            """() => ({
              "first contentful paint": performance.getEntriesByName("first-contentful-paint")[0].startTime / 1000,
              ...window.painted,
            })"""
        )
        browser.close()
    return seconds


def many(url: str, clients: int = CLIENTS, clicks: int = 6) -> tuple[list[float], list[str]]:
    """Milliseconds of every request of many clients at once, and what went wrong."""
    problems: list[str] = []

    def one(number: int) -> list[float]:
        choice, client, times = random.Random(number), Client.of(url), []
        for _ in range(clicks):
            path, search = choice.choice(list(VIEWS.values()))
            try:
                times += client.click(path, search).values()
            except OSError as error:
                problems.append(str(error))
        return times

    with ThreadPoolExecutor(clients) as pool:
        return [time for times in pool.map(one, range(clients)) for time in times], problems


def main(folder: Path) -> None:
    """Measure, and print what docs/performance.md tells."""
    stages = make_stages(folder / "stages")
    cache = folder / "cache"
    cold = not cache.exists()
    served = Served(stages, cache)
    try:
        print(
            f"{LAYERS} layers x {NEURONS} neurons x {STAGES} stages; listening after {served.seconds:.1f} s",
            flush=True,
        )
        client = Client.of(served.url)
        started = time.perf_counter()
        client.click("/", "")
        while "testing" not in (tasks := served.doing()) and tasks:
            time.sleep(0.5)
        while tasks and "reading" in tasks:
            tasks = served.doing()
            time.sleep(0.5)
        if cold:
            print(f"everything but the tests ready after {time.perf_counter() - started:.0f} s", flush=True)
        print("paint", {name: round(value, 2) for name, value in first_paint(served.url).items()}, flush=True)
        for name, (path, search) in VIEWS.items():
            first = client.click(path, search)
            later = [client.click(path, search) for _ in range(3)]
            usual = {what: median(times[what] for times in later) for what in first}
            slow, slow_first = max(usual, key=usual.__getitem__), max(first, key=first.__getitem__)
            print(
                f"{name}: slowest request {usual[slow]:.0f} ms ({slow}), for the first time {first[slow_first]:.0f} ms "
                f"({slow_first}); {len(usual)} requests in {sum(usual.values()):.0f} ms",
                flush=True,
            )
        started = time.perf_counter()
        times, problems = many(served.url)
        cuts = quantiles(times, n=20)
        print(
            f"{CLIENTS} clients: {len(times)} requests in {time.perf_counter() - started:.1f} s, median "
            f"{median(times):.0f} ms, 95% within {cuts[18]:.0f} ms, {len(problems)} errors {problems[:3]}",
            flush=True,
        )
        print("MiB", {name: round(value) for name, value in served.memory()}, flush=True)
        print("still:", served.doing())
    finally:
        served.close()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder))
