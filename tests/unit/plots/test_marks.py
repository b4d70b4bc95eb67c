"""What the figures of the report and of the dashboard share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tests.builders.figures import Text, plain_words, significant
from txray.analysis import Comparison
from txray.plots import scatter
from txray.plots.marks import FAINT, PAPER, Canvas, dim_unselected, needs_webgl, sample
from txray.plots.volcano import drawable, traces


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    text = Text(plain_words(300), n_words=6_000, folds=16)
    return significant(
        text.stage("unsup", seed=0, silent=[0, 1])[0], text.stage("sup", seed=1, silent=[1, 2])[0]
    )


def plain_hover(rows: pl.DataFrame) -> list[str]:
    return [str(neuron) for neuron in rows["neuron"]]


def number(row: dict[str, object]) -> str:
    return str(row["neuron"])


def test_picked_rows_are_drawn_first() -> None:
    rows = pl.DataFrame({"neuron": range(1000)}).with_columns(picked=pl.col("neuron") % 100 == 0)
    drawn = sample(rows, 50)
    assert len(drawn) == 50
    assert drawn["picked"].sum() == 10
    assert drawn["neuron"].is_sorted()
    assert len(sample(rows.drop("picked"), 50)) == 50


def test_rows_that_are_not_picked_fade() -> None:
    rows = pl.DataFrame({"picked": [True, False, True]})
    options = dim_unselected(rows)
    assert options["selectedpoints"].tolist() == [0, 2]
    assert options["unselected"] == {"marker": {"opacity": FAINT}}
    assert dim_unselected(rows.filter("picked"))["selectedpoints"] is None
    assert dim_unselected(rows.drop("picked")) == {}


def test_only_thousands_of_marks_need_webgl() -> None:
    rows = pl.DataFrame({"neuron": range(2_501)})
    assert needs_webgl(rows)
    assert not needs_webgl(rows.head(2_500))


def test_only_picked_neurons_are_labelled_and_all_are_drawn(comparison: Comparison) -> None:
    rows = drawable(comparison.neurons)
    fdr = float(comparison.fdr or 0)
    labelled = traces(rows, fdr=fdr, hover=plain_hover, label=number).data[-1].text
    assert len(labelled) > 2
    picked = rows.with_columns(picked=pl.col("neuron") == int(labelled[0]))
    figure = traces(picked, fdr=fdr, hover=plain_hover, label=number)
    *marks, labels = figure.data
    assert list(labels.text) == [labelled[0]]
    assert sorted(n for trace in marks for n in trace.customdata) == sorted(rows["neuron"])
    assert sum(len(trace.selectedpoints) for trace in marks) == 1


def test_a_small_canvas_names_fewer_neurons_and_has_shorter_titles(comparison: Comparison) -> None:
    rows = drawable(comparison.neurons)
    small = Canvas(width=400, height=200, max_labels=2, label_width=60)
    figure = traces(rows, fdr=0.05, hover=plain_hover, label=number, canvas=small)
    large = traces(rows, fdr=0.05, hover=plain_hover, label=number)
    assert len(figure.data[-1].text) <= 2 < len(large.data[-1].text)
    assert len(figure.layout.yaxis.title.text) < len(large.layout.yaxis.title.text)
    for one, other in zip(figure.data[:-1], large.data[:-1], strict=True):
        np.testing.assert_array_equal(one.x, other.x)


def test_clicks_report_the_column_of_the_canvas(comparison: Comparison) -> None:
    shown = scatter.shown_distance(comparison)
    rows = shown.rows(comparison.neurons.filter(pl.col("state") == "shared"))
    rows = rows.with_columns(place=pl.col("neuron") + 1_000)
    figure = scatter.traces(
        rows,
        shown,
        fdr=0.05,
        noun="token",
        after="after",
        hover=plain_hover,
        canvas=replace(PAPER, ids="place"),
    )
    clicked = [place for trace in figure.data if trace.customdata for place in trace.customdata]
    assert sorted(clicked) == sorted(rows["place"])
