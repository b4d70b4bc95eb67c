"""What is logged: a figure, a table of words that try to be more than words, and a stage folder."""

from __future__ import annotations

import math
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import polars as pl
import pytest

from tests.builders.hostile import IN_MARKDOWN
from tests.builders.layered_stages import stage_of

SCALARS = {
    "txray/encoder.layer.0.intermediate/token/previous/changed": 0.125,
    "txray/rnn/mass": 1e-7,
    "txray/nan": math.nan,
    "txray/infinite": -math.inf,
}
"""Numbers that are logged, by name."""


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Other machines that Python asked for anything meanwhile, which must be none."""
    hosts: list[str] = []
    connect, find = socket.socket.connect, socket.getaddrinfo

    def noted(host: Any) -> None:
        if isinstance(host, bytes):
            host = host.decode()
        if host not in (None, "", "localhost", "::1") and not str(host).startswith("127."):
            hosts.append(str(host))

    def connecting(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple):
            noted(address[0])
        connect(self, address)

    def finding(host: Any, *rest: Any, **options: Any) -> Any:
        noted(host)
        return find(host, *rest, **options)

    monkeypatch.setattr(socket.socket, "connect", connecting)
    monkeypatch.setattr(socket, "getaddrinfo", finding)
    yield hosts
    assert hosts == []


@pytest.fixture
def figure() -> go.Figure:
    """Arrays of several types, one with a hole."""
    drawn = go.Figure(
        [
            go.Scatter(x=np.arange(3), y=np.array([0.5, np.nan, 1.5]), text=["a", "<b>", ""]),
            go.Heatmap(z=np.arange(6, dtype=np.float32).reshape(2, 3)),
        ]
    )
    drawn.update_layout(title_text="2 of 3 neurons", width=600, height=400)
    return drawn


@pytest.fixture
def table() -> pl.DataFrame:
    """One row per hostile word, with numbers, nulls and lists."""
    n = len(IN_MARKDOWN)
    return pl.DataFrame(
        {
            "neuron": range(n),
            "distance": [0.25, None, math.nan, math.inf, *[0.5] * (n - 4)],
            "word": IN_MARKDOWN,
            "near <i>": [["a", "b"], *[[]] * (n - 1)],
            "kept": [True, False, None, *[True] * (n - 3)],
        }
    )


@pytest.fixture(scope="session")
def stage_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stage whose name and layers are hostile as well."""
    return stage_of("step 5 <b>").save(tmp_path_factory.mktemp("stages") / "step-5")
