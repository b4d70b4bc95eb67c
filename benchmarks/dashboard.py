"""The dashboard over a large model: first paint, clicks, memory, many clients at once.

    python -m benchmarks.dashboard [FOLDER]

FOLDER holds stages (3 GB) and results (1 GB), which are made if they are missing; default: a temporary folder.
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
    "neurons that respond to a word": ("/", "?prefers=word00100"),
    "neurons of a part of speech": ("/", "?top=TAG03"),
    "sorted by name": ("/", "?sort=beyond_after"),
    "a neuron": ("/neuron", f"?layer={LAYER}&neuron=17"),
    "a frequent word": ("/feature", "?word=word00000"),
    "a rare word": ("/feature", "?word=word12345"),
    "sources": ("/sources", ""),
}
"""View -> path and query string."""


@dataclass
class Client:
    """A client that sends the requests of a browser.

    Attributes:
        url: of the dashboard.
        callbacks: of the dashboard that run on the server.
    """

    url: str
    callbacks: list[dict[str, Any]]

    @classmethod
    def of(cls, url: str) -> Client:
        """Return a client for a running dashboard."""
        callbacks = json.loads(_get(f"{url}_dash-dependencies"))
        on_server = [callback for callback in callbacks if not callback.get("clientside_function")]
        return cls(
            url, [callback for callback in on_server if any(i["id"] == "url" for i in callback["inputs"])]
        )

    def click(self, path: str, search: str, theme: str = "light") -> dict[str, float]:
        """Return the milliseconds of each request of a view, sent one after the other."""
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


class Server:
    """`txray serve` in a process of its own."""

    def __init__(self, stages: list[Path], cache: Path) -> None:
        """Start the server, and wait until it listens."""
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

    def job_status(self) -> str:
        """Return what runs in the background; empty if nothing does."""
        outputs = (
            "version.data",
            "job-status.children",
            "tick.interval",
            "changed-message.children",
            "changed.hidden",
        )
        body = {
            "output": f"..{'...'.join(outputs)}..",
            "outputs": [dict(zip(("id", "property"), output.split("."), strict=True)) for output in outputs],
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
        """Yield the MiB that the server and its workers use, and their maxima."""
        processes = subprocess.run(
            ["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True
        ).stdout
        server = str(self.process.pid)
        for line in processes.splitlines()[1:]:
            pid, parent = line.split()
            if server in (pid, parent):
                status = Path(f"/proc/{pid}/status").read_text()
                used, maximum = (
                    next(int(row.split()[1]) / 1024 for row in status.splitlines() if row.startswith(name))
                    for name in ("VmRSS", "VmHWM")
                )
                name = "server" if pid == server else "worker"
                yield name, used
                yield f"{name}, maximum", maximum

    def close(self) -> None:
        """Stop the server as Ctrl-C does."""
        self.process.send_signal(2)
        self.process.wait(timeout=20)


_WATCH = """
window.painted = {};
const wanted = {
  summary: () => document.querySelector("#summary .numbers"),
  table: () => document.querySelector("#neurons-body tr[data-id]"),
  figures: () => document.querySelectorAll("#page-overview .card:not([hidden]) .main-svg").length >= 7 * 2,
};
const watch = () => {
  for (const [name, exists] of Object.entries(wanted)) {
    if (!(name in window.painted) && exists()) window.painted[name] = performance.now() / 1000;
  }
  requestAnimationFrame(watch);
};
requestAnimationFrame(watch);
"""


def first_paint(url: str) -> dict[str, float]:
    """Return the seconds from opening the URL in a new browser until text, summary, table and figures are painted."""
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
    """Return the milliseconds of all requests of many clients at once, and their errors."""
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
    """Measure and print the numbers of docs/performance.md."""
    stages = make_stages(folder / "stages")
    cache = folder / "cache"
    cold = not cache.exists()
    server = Server(stages, cache)
    try:
        print(
            f"{LAYERS} layers x {NEURONS} neurons x {STAGES} stages; listening after {server.seconds:.1f} s",
            flush=True,
        )
        client = Client.of(server.url)
        started = time.perf_counter()
        client.click("/", "")
        while "testing" not in (status := server.job_status()) and status:
            time.sleep(0.5)
        while "reading" in status:
            status = server.job_status()
            time.sleep(0.5)
        if cold:
            print(f"everything but the tests ready after {time.perf_counter() - started:.0f} s", flush=True)
        print("paint", {name: round(value, 2) for name, value in first_paint(server.url).items()}, flush=True)
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
        times, problems = many(server.url)
        cuts = quantiles(times, n=20)
        print(
            f"{CLIENTS} clients: {len(times)} requests in {time.perf_counter() - started:.1f} s, median "
            f"{median(times):.0f} ms, 95% within {cuts[18]:.0f} ms, {len(problems)} errors {problems[:3]}",
            flush=True,
        )
        print("MiB", {name: round(value) for name, value in server.memory()}, flush=True)
        print("still:", server.job_status())
    finally:
        server.close()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder))
