"""Figures to files: HTML and JSON always, PNG, PDF and SVG with the extra `export` and a Chromium."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from txray._optional import import_extra
from txray.errors import OutputError, UnknownNameError, UsageError, in_one_line
from txray.files import atomic_file, write_text
from txray.plots.subjects import checked_subjects, require_subject

SUFFIXES = (".html", ".json", ".png", ".pdf", ".svg")
"""File formats of a figure."""

_IMAGES = (".png", ".pdf", ".svg")
_PNG_SCALE = 2
"""Pixels of a PNG per pixel of the figure: sharp in print at column width."""
_SECONDS = 120
"""Timeout of one image."""


@checked_subjects
def save_figure(figure: go.Figure, path: Path | str) -> Path:
    """Write one figure; the suffix of the path is the format.

    `.html` is one file without a request to any host, `.json` is plotly's own format; `.png`, `.pdf` and
    `.svg` need the extra `export` (kaleido) and a Chromium or Chrome. An incomplete file is never left.

    Args:
        figure: any.
        path: ends in .html, .json, .png, .pdf or .svg; folders are made.

    Returns:
        The path written.

    Raises:
        UnknownNameError: an unknown suffix.
        UsageError: kaleido or the browser is missing.
        OutputError: the browser failed, or the file cannot be written.
    """
    return save_figures({path: figure})[0]


@checked_subjects
def save_figures(figures: Mapping[Path | str, go.Figure]) -> list[Path]:
    """Write several figures, all images with one start of the browser.

    Args:
        figures: path -> figure; see `save_figure`.

    Returns:
        The paths written, in the order given.

    Raises:
        UnknownNameError: an unknown suffix; nothing is written then.
        UsageError: kaleido or the browser is missing.
        OutputError: the browser failed, or a file cannot be written.
    """
    targets = {Path(path): figure for path, figure in figures.items()}
    for path, figure in targets.items():
        require_figure_path(path)
        require_subject(figure, "Figure", str(path))
    images = {path: figure for path, figure in targets.items() if path.suffix.lower() in _IMAGES}
    # Rendering can fail: nothing is written before it has succeeded.
    contents = _rendered(images) if images else []
    for path, figure in targets.items():
        match path.suffix.lower():
            case ".html":
                write_text(path, to_html(figure, name=path.stem))
            case ".json":
                write_text(path, figure.to_json())
    for path, content in zip(images, contents, strict=True):
        with atomic_file(path) as temporary:
            temporary.write_bytes(content)
    return list(targets)


def require_figure_path(path: Path | str) -> None:
    """Raise `UnknownNameError` for an unknown suffix, and `UsageError` for an image if kaleido is missing."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise UnknownNameError.of(f"suffix of {path}", suffix, SUFFIXES)
    if suffix in _IMAGES:
        _import_kaleido(path)


def _import_kaleido(path: Path | str) -> Any:
    return import_extra(
        f"{path}: {Path(path).suffix} needs", "export", "kaleido", hint="or write .html or .json"
    )


def to_pngs(figures: Mapping[str, go.Figure]) -> list[bytes]:
    """Return figures, by name in error messages, as PNGs of two pixels per pixel, with one start of the browser.

    Raises:
        UsageError: kaleido or the browser is missing.
        OutputError: the browser failed.
    """
    return _rendered({Path(f"{name}.png"): figure for name, figure in figures.items()}) if figures else []


@checked_subjects
def to_html(figure: go.Figure, *, name: str = "figure") -> str:
    """Return a whole HTML page that makes no request to any host; the same figure gives the same text.

    Args:
        figure: any.
        name: of the page's element.
    """
    config = {
        "typesetMath": False,
        "displaylogo": False,
        "showSendToCloud": False,
        "toImageButtonOptions": {"format": "svg", "scale": 1},
    }
    identity = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name)
    return str(
        figure.to_html(
            config=config, include_plotlyjs=True, include_mathjax=False, div_id=f"txray-{identity}"
        )
    )


def _rendered(images: Mapping[Path, go.Figure]) -> list[bytes]:
    first = next(iter(images))
    kaleido = _import_kaleido(first)
    from kaleido.errors import ChromeNotFoundError

    async def render() -> list[bytes]:
        # One browser for all; without MathJax, which would be fetched from a host.
        async with kaleido.Kaleido(n=1, timeout=_SECONDS, mathjax=False) as browser:
            contents: list[bytes] = []
            for path, figure in images.items():
                kind = path.suffix.lower().removeprefix(".")
                options = {"format": kind, "scale": _PNG_SCALE if kind == "png" else 1}
                contents.append(await browser.calc_fig(figure.to_dict(), opts=options))
            return contents

    try:
        # In a thread of its own: in a notebook, an event loop runs already in this one.
        with _quiet(), ThreadPoolExecutor(1, "txray-export") as thread:
            return thread.submit(asyncio.run, render()).result()
    except ChromeNotFoundError as error:
        named = os.environ.get("BROWSER_PATH")
        where = f" (BROWSER_PATH={named!r} is not one)" if named else ""
        raise UsageError(
            f"{first}: {first.suffix} needs Chromium or Chrome{where}: install one, or name it in "
            "BROWSER_PATH (or write .html or .json)"
        ) from error
    except Exception as error:
        reason = in_one_line(error)
        raise OutputError(f"{first}: the browser could not draw it: {reason}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the log of kaleido's browser library: errors are raised by this module."""
    logger = logging.getLogger("choreographer")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)
