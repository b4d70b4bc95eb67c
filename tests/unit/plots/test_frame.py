from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest
from playwright.sync_api import Page

from tests.builders.figures import Text, caption_of
from tests.unit.plots.rendering import boxes, draw
from txray.plots import theme
from txray.plots.axes import linear_axis, log_axis, log_ticks, whole_step
from txray.plots.frame import add_frame, caption
from txray.plots.panels import Panel, tiled


def framed(title: str = "One of 2", *, traces: int = 1, name: str = "stage") -> go.Figure:
    figure = go.Figure([go.Scatter(x=[1], y=[1], name=f"{name}{i}") for i in range(traces)])
    return add_frame(figure, title=title, subtitle="what", caption="from where")


def plot_area(figure: go.Figure) -> tuple[float, float]:
    layout = figure.layout
    return (
        layout.width - layout.margin.l - layout.margin.r,
        layout.height - layout.margin.t - layout.margin.b,
    )


def test_the_plotting_area_keeps_its_size_whatever_the_texts() -> None:
    short, long = framed(), framed("very many words in a title " * 20, traces=30, name="a long stage name ")
    assert plot_area(short) == plot_area(long) == (theme.PLOT_WIDTH, theme.PLOT_HEIGHT)
    assert long.layout.margin.t > short.layout.margin.t + 100
    assert 580 < short.layout.height < 620


def test_titles_are_text() -> None:
    figure = framed("<i>1</i> & $x$")
    assert "&lt;i&gt;1&lt;/i&gt; &amp; &#36;x&#36;" in figure.layout.title.text


def test_the_caption_traces_the_picture(text: Text) -> None:
    tokens, tags = text.stage("unsup", seed=0)
    assert (
        caption(tokens)
        == "stage unsup · layer rnn · feature type token · selection max-1 · 4,000 words · 4 folds"
    )
    assert caption(tokens, tags).startswith("stage unsup · layer rnn · feature type token, pos")
    assert caption_of(framed()) == "from where"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.1, 3.2, ["1", "10", "100", "1k"]),
        (2.9, 6.1, ["1k", "10k", "100k", "1M"]),
        (0.9, 2.1, ["10", "20", "50", "100"]),
        (-3.1, 0.1, ["0.001", "0.01", "0.1", "1"]),
    ],
)
def test_log_ticks_stand_at_1_10_100(low: float, high: float, expected: list[str]) -> None:
    assert log_ticks(low, high)["ticktext"] == expected


@pytest.mark.parametrize("value", np.geomspace(0.002, 80_000, 23).tolist())
def test_even_a_single_value_has_two_ticks_around_it(value: float) -> None:
    axis = log_axis(np.array([value]), "x")
    assert axis["range"][0] < np.log10(value) < axis["range"][1]
    assert len(axis["tickvals"]) >= 2


def test_ticks_of_small_distances_have_no_prefix_of_a_unit(page: Page) -> None:
    for top, shown in ((0.0004, "10"), (0.4, "0.4"), (40_000, "40k")):
        values = np.array([0.0, top])
        draw(page, go.Figure(go.Scatter(x=[1, 2], y=values), {"yaxis": linear_axis(values, "distance")}))
        ticks = [text for text, *_ in boxes(page, ".ytick text")]
        assert any(shown in text for text in ticks), ticks
        assert not any(letter in text for text in ticks for letter in "mµμ"), ticks


def test_a_log_axis_holds_all_positive_values() -> None:
    values = np.array([0.0, 3.0, 40_000.0, np.nan])
    axis = log_axis(values, "tokens")
    assert axis["range"][0] < np.log10(3)
    assert axis["range"][1] > np.log10(40_000)
    assert axis["title"]["text"] == "tokens, log scale"
    assert log_axis(np.array([]), "tokens")["range"] == [0.0, 1.0]


@pytest.mark.parametrize(
    ("last", "step"), [(0.5, 1), (12, 1), (13, 2), (50, 5), (1500, 200), (9_000_000, 1_000_000)]
)
def test_whole_steps(last: float, step: int) -> None:
    assert whole_step(last) == step


def test_tiles_fill_the_width_and_do_not_overlap() -> None:
    panels = tiled(5, 2, height=100, gap_across=60, gap_down=40)
    assert [panel.top for panel in panels] == [0, 0, 140, 140, 280]
    assert panels[1].left + panels[1].width == pytest.approx(theme.PLOT_WIDTH)
    assert panels[1].left - panels[0].width == pytest.approx(60)
    across, down = panels[2].domains(380)
    assert across == pytest.approx([0, panels[2].width / theme.PLOT_WIDTH])
    assert down == pytest.approx([1 - 240 / 380, 1 - 140 / 380])
    assert Panel(0, 0, 10, 380).domains(380)[1] == [0.0, 1.0]
