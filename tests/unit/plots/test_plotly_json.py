from __future__ import annotations

import json

import numpy as np
import plotly.graph_objects as go
import pytest

from txray.plots.plotly_json import plain_figure


@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8", "i8"])
def test_arrays_of_every_type_become_lists_of_their_numbers(kind: str) -> None:
    numbers = np.array([0, 1, 100], np.dtype(kind))
    assert plain_figure(go.Figure(go.Scatter(x=numbers)))["data"][0]["x"] == [0, 1, 100]


def test_the_shape_of_arrays_is_kept() -> None:
    table = np.arange(6.0).reshape(2, 3)
    assert plain_figure(go.Figure(go.Heatmap(z=table)))["data"][0]["z"] == [[0, 1, 2], [3, 4, 5]]


def test_what_is_not_finite_is_null() -> None:
    figure = go.Figure(go.Scatter(x=np.array([np.nan, np.inf, 1]), y=[float("nan"), 1, -float("inf")]))
    plain = plain_figure(figure)
    assert plain["data"][0]["x"] == [None, None, 1]
    assert plain["data"][0]["y"] == [None, 1, None]
    json.dumps(plain, allow_nan=False)


def test_nothing_else_changes() -> None:
    figure = go.Figure(
        go.Scatter(x=[1, 2], y=[0.5, 1.5], text=["<b>", "bdata"], marker={"size": [3, 4]}),
        {"title": {"text": "found"}, "shapes": [{"type": "line", "x0": 0}]},
    )
    assert plain_figure(figure) == json.loads(figure.to_json())


def test_nothing_is_packed_anywhere() -> None:
    numbers = np.linspace(0, 1, 50)
    figure = go.Figure(go.Scatter(x=numbers, customdata=numbers.reshape(25, 2), marker={"color": numbers}))
    assert "bdata" in figure.to_json()
    text = json.dumps(plain_figure(figure))
    assert "bdata" not in text
    assert json.loads(text)["data"][0]["marker"]["color"] == numbers.tolist()
