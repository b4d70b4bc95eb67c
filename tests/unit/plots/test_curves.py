from __future__ import annotations

import math

import polars as pl
import pytest

from tests.builders.figures import title_of
from txray.errors import ShapeError
from txray.plots import classifier_curves, training_curves

LOSSES = {"train": (9.2, 6.0, 5.0, 4.5), "validation": (9.2, 6.1, 5.4, 5.6), "test": (9.2, 6.05, 5.35, 5.5)}


def language_model() -> pl.DataFrame:
    return pl.DataFrame(
        [
            (epoch, split, loss, math.exp(loss))
            for split, losses in LOSSES.items()
            for epoch, loss in enumerate(losses)
        ],
        schema=["epoch", "split", "loss", "perplexity"],
        orient="row",
    )


def classifier() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "epoch": [0, 1, 2, 0, 1, 2],
            "split": ["validation"] * 3 + ["test"] * 3,
            "loss": [0.7, 0.5, 0.52, 0.7, 0.5, 0.55],
            "accuracy": [0.5, 0.8, 0.79, 0.5, 0.78, 0.8],
            "f1": [0.6, 0.81, 0.83, 0.61, 0.77, 0.79],
            "auroc": [0.5, 0.88, 0.89, 0.5, 0.86, 0.87],
        }
    )


def test_lines_are_the_curves() -> None:
    figure = training_curves(language_model().sample(fraction=1, shuffle=True, seed=1))
    drawn = {(trace.yaxis, trace.name): list(trace.y) for trace in figure.data}
    for split, losses in LOSSES.items():
        assert drawn["y2", split] == pytest.approx(list(losses))
        assert drawn["y", split] == pytest.approx([math.exp(loss) for loss in losses])
    assert all(list(trace.x) == [0, 1, 2, 3] for trace in figure.data)
    assert figure.layout.yaxis.type == "log"
    assert sorted(trace.name for trace in figure.data if trace.showlegend) == sorted(LOSSES)


def test_the_title_tells_the_best_epoch() -> None:
    assert title_of(training_curves(language_model())) == (
        f"Best epoch 2, by validation loss: validation perplexity {math.exp(5.4):,.0f} "
        f"(epoch 0: {math.exp(9.2):,.0f}), test perplexity {math.exp(5.35):,.0f}"
    )
    assert title_of(classifier_curves(classifier())) == (
        "Best epoch 1, by validation loss: validation F1 0.81 (epoch 0: 0.6), test F1 0.77"
    )


def test_a_classifier_has_four_panels() -> None:
    figure = classifier_curves(classifier())
    assert {trace.yaxis for trace in figure.data} == {"y", "y2", "y3", "y4"}
    assert all(
        0 <= low < high <= 1 for low, high in (figure.layout[f"yaxis{n}"].domain for n in ("", 2, 3, 4))
    )


def test_missing_values_are_left_out() -> None:
    curves = language_model().with_columns(
        pl.when(pl.col("split") == "train").then(None).otherwise(pl.col("perplexity")).alias("perplexity"),
        pl.when(pl.col("epoch") == 1).then(float("nan")).otherwise(pl.col("loss")).alias("loss"),
    )
    figure = training_curves(curves)
    assert [trace.name for trace in figure.data if trace.yaxis == "y"] == ["validation", "test"]
    assert all(list(trace.x) == [0, 2, 3] for trace in figure.data if trace.yaxis == "y2")


def test_one_epoch_and_none() -> None:
    assert "epoch 0" in title_of(training_curves(language_model().filter(pl.col("epoch") == 0)))
    empty = training_curves(language_model().clear())
    assert title_of(empty) == "No perplexity has been measured yet"
    assert any("no curve" in note.text for note in empty.layout.annotations)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ShapeError, match="perplexity"):
        training_curves(language_model().drop("perplexity"))
