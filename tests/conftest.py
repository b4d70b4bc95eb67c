"""Fixtures that every test may use."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytest_plugins = ["tests.durations"]

# Trackers tell their makers of their use, unless they are told not to before they are imported.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["WANDB_ERROR_REPORTING"] = "false"

# How long an example takes says more about the machine than about the code. Under continuous integration the
# examples are the same in every run, so that a change is never blamed for a fault that was there before it.
settings.register_profile("patient", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("patient")

_CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""Chromium as root, without a graphics card, and without any request of its own."""


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The prepared real text: the folder that TXRAY_DATA names."""
    named = os.environ.get("TXRAY_DATA")
    if not named or not Path(named).is_dir():
        missing(f"TXRAY_DATA={named!r} names no folder with the prepared real text")
    return Path(named)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium or Chrome."""
    path = next(filter(None, map(shutil.which, _CHROMIUMS)), None)
    if path is None:
        missing("no Chromium or Chrome on the PATH")
    return path


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """One headless browser for the tests of a module; it keeps an event loop running meanwhile."""
    with launched(chromium) as opened:
        yield opened


@contextmanager
def launched(chromium: str) -> Iterator[Browser]:
    """A headless browser that ends with the block."""
    # Here, because the fast tests need no library that drives browsers.
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=_QUIET)
        yield opened
        opened.close()


def missing(what: str) -> NoReturn:
    """Skip a test for what this machine lacks; under continuous integration nothing may be lacking."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)
