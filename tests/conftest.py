"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The prepared real text: the folder that TXRAY_DATA names."""
    named = os.environ.get("TXRAY_DATA")
    folder = Path(named) if named else None
    if folder is None or not folder.is_dir():
        message = f"TXRAY_DATA={named!r} names no folder with the prepared real text"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return folder
