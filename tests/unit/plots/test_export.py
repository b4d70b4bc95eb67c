from __future__ import annotations

import asyncio
import json
import logging
import re
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import plotly.graph_objects as go
import plotly.io
import pytest
from playwright.sync_api import Browser

from tests.builders.figures import Text
from txray.analysis import compare
from txray.errors import OutputError, UnknownNameError, UsageError
from txray.plots import export, hellinger_length, mass_activation, save_figure, save_figures


@pytest.fixture(scope="module")
def figure(hostile: Text) -> go.Figure:
    return mass_activation([hostile.stage("unsup", seed=0)[0], hostile.stage("sup", seed=1)[0]])


def test_json_comes_back_as_the_same_figure(figure: go.Figure, tmp_path: Path) -> None:
    path = save_figure(figure, tmp_path / "new" / "mass.json")
    assert path == tmp_path / "new" / "mass.json"
    assert plotly.io.from_json(path.read_text("utf-8")) == plotly.io.from_json(figure.to_json())


def test_html_needs_nothing_else(figure: go.Figure, browser: Browser, tmp_path: Path) -> None:
    path = save_figure(figure, tmp_path / "mass.html")
    markup = re.sub(r"<script>.*?</script>", "", path.read_text("utf-8"), flags=re.DOTALL)
    assert not re.search(r"<script|<link|<img|https?:", markup)
    page = browser.new_page()
    requests: list[str] = []
    problems: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: problems.append(dialog.message))
    page.goto(path.as_uri())
    page.wait_for_selector(".scatterlayer .trace")
    page.mouse.move(300, 300)
    buttons = page.evaluate("[...document.querySelectorAll('.modebar-btn')].map(b => b.dataset.title)")
    assert "Zoom" in buttons
    assert not [button for button in buttons if "hare" in button or "loud" in button]
    page.wait_for_timeout(300)
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert requests[0] == path.as_uri()
    assert problems == []
    page.close()


def test_the_same_figure_gives_the_same_bytes(figure: go.Figure, tmp_path: Path) -> None:
    first, second = (save_figure(figure, tmp_path / folder / "a.html").read_bytes() for folder in "xy")
    assert first == second


def test_images_really_open(figure: go.Figure, browser: Browser, tmp_path: Path) -> None:
    paths = save_figures({tmp_path / f"mass{suffix}": figure for suffix in (".png", ".pdf", ".svg")})
    assert [path.suffix for path in paths] == [".png", ".pdf", ".svg"]
    png, pdf, svg = (path.read_bytes() for path in paths)
    size = struct.unpack(">II", png[16:24])
    assert size == (2 * figure.layout.width, 2 * figure.layout.height)
    page = browser.new_page()
    page.goto(paths[0].as_uri())
    colors = page.evaluate(
        """() => { const image = document.querySelector('img'), canvas = document.createElement('canvas');
        canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
        const context = canvas.getContext('2d'); context.drawImage(image, 0, 0);
        const data = context.getImageData(0, 0, canvas.width, canvas.height).data, seen = new Set();
        for (let i = 0; i < data.length; i += 4) seen.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
        return [canvas.width, canvas.height, ...seen]; }"""
    )
    page.close()
    assert tuple(colors[:2]) == size
    assert {0xD55E00, 0x0072B2, 0xFFFFFF} <= set(colors[2:])
    assert pdf.startswith(b"%PDF-")
    assert pdf.rstrip().endswith(b"%%EOF")
    drawn = ElementTree.fromstring(svg)
    assert "Half of the activation mass" in "".join(drawn.itertext())


def test_webgl_marks_are_in_the_png(text: Text, chromium: str, tmp_path: Path) -> None:
    comparison = compare(text.stage("unsup", seed=0)[0], text.stage("sup", seed=1)[0], permutations=0)
    full, bare = hellinger_length(comparison), hellinger_length(comparison)
    for trace in bare.data:
        trace.x, trace.y = [], []
    paths = save_figures({tmp_path / "full.png": full, tmp_path / "bare.png": bare})
    sizes = [path.stat().st_size for path in paths]
    assert sizes[0] > sizes[1] + 1000


def test_a_batch_starts_one_browser(
    figure: go.Figure, chromium: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import kaleido

    started = []

    class Counting(kaleido.Kaleido):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            started.append(options)
            super().__init__(*args, **options)

    monkeypatch.setattr(kaleido, "Kaleido", Counting)
    paths = save_figures({tmp_path / f"{n}.png": figure for n in range(3)})
    assert len(started) == 1
    assert started[0]["mathjax"] is False
    assert len({path.read_bytes() for path in paths}) == 1


def test_export_works_inside_a_running_event_loop(figure: go.Figure, chromium: str, tmp_path: Path) -> None:
    async def notebook() -> Path:
        return save_figure(figure, tmp_path / "cell.svg")

    # In a thread of its own, because the browser fixture keeps a loop running in this one.
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(asyncio.run, notebook()).result().stat().st_size > 1000


@pytest.mark.parametrize("name", ["mass", "mass.pgn", "mass.html.gz"])
def test_an_unknown_suffix_is_refused_before_anything_is_written(
    name: str, figure: go.Figure, tmp_path: Path
) -> None:
    with pytest.raises(UnknownNameError, match=r"\.png") as caught:
        save_figures({tmp_path / "good.json": figure, tmp_path / name: figure})
    assert caught.value.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_without_kaleido_the_extra_is_named(
    figure: go.Figure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kaleido", None)
    with pytest.raises(UsageError, match=r"pip install 'txray\[export\]'") as caught:
        save_figures({tmp_path / "a.json": figure, tmp_path / "a.png": figure})
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_without_a_browser_the_fix_is_named(
    figure: go.Figure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "no-browser"))
    with pytest.raises(UsageError, match="BROWSER_PATH") as caught:
        save_figure(figure, tmp_path / "a.pdf")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a.pdf").exists()


def test_a_browser_that_fails_is_a_failure_in_one_line(
    figure: go.Figure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "browser"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("BROWSER_PATH", str(broken))
    with pytest.raises(OutputError, match=r"a\.png") as caught:
        save_figure(figure, tmp_path / "a.png")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1


def test_a_place_that_cannot_be_written_leaves_nothing(figure: go.Figure, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError):
        save_figure(figure, tmp_path / "file" / "a.json")
    old = tmp_path / "old.json"
    save_figure(figure, old)
    assert json.loads(old.read_text("utf-8"))["layout"]["width"] == figure.layout.width
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "old.json"]


def test_the_library_for_browsers_is_not_heard(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("choreographer.channels.pipe")
    with export._quiet():
        logger.critical("JSONError decoding message")
    assert caplog.text == ""
    logger.critical("heard")
    assert "heard" in caplog.text
