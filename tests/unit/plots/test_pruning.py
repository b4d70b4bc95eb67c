"""Figures of pruned models."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import plotly.graph_objects as go
import polars as pl
import pytest
from playwright.sync_api import Page

from tests.unit.plots.builders import caption_of, numbers_in, strings_in, title_of
from tests.unit.plots.rendering import boxes, draw, overlapping
from tests.unit.pruning.builders import planted, recurrent_classifier, recurrent_model, reviews
from txray import Pruning, plots, prune
from txray.errors import UnknownNameError, UsageError
from txray.pruning import NeuronSet, curve_sets

HOSTILE = "<b>$a$</b>" + "w" * 90


@pytest.fixture(scope="module")
def sets() -> Pruning:
    from benchmarks.evidence.pruning import planted_sets

    classifier = planted()
    texts = {"train": classifier.documents(150, 1), "test": classifier.documents(150, 2)}
    return prune(
        classifier.model, [*planted_sets(), NeuronSet("empty", "rnn", ())], texts, random=5, resamples=100
    )


@pytest.fixture(scope="module")
def curves() -> Pruning:
    scores = {"mass": np.arange(12.0), "taylor": np.arange(12.0)[::-1]}
    return prune(
        recurrent_classifier(),
        curve_sets(scores, "rnn", (0.1, 0.5)),
        {"test": reviews()},
        random=4,
        resamples=50,
    )


@pytest.fixture(scope="module")
def hostile() -> Pruning:
    chosen = [NeuronSet(HOSTILE + str(i), "rnn", tuple(range(i + 1)), HOSTILE + str(i)) for i in range(8)]
    texts = {HOSTILE: reviews(30, 1), HOSTILE + "2": reviews(30, 2)}
    return prune(recurrent_classifier(), chosen, texts, random=3, resamples=20)


def named(figure: go.Figure, name: str) -> go.Scatter:
    return next(trace for trace in figure.data if trace.name == name)


def test_every_set_stands_beside_its_random_sets(sets: Pruning) -> None:
    figure = plots.pruning_effects(sets, "f1")
    rows = sets.effects.filter((pl.col("metric") == "f1") & pl.col("value").is_not_null())
    for split in ("train", "test"):
        of = rows.filter(pl.col("split") == split)
        trace = named(figure, split)
        np.testing.assert_allclose(trace.x, 100 * of["change"])
        np.testing.assert_allclose(trace.error_x.array, 100 * (of["change_high"] - of["change"]))
        np.testing.assert_allclose(trace.error_x.arrayminus, 100 * (of["change"] - of["change_low"]))
    strokes = named(figure, "random sets of as many neurons")
    assert len(strokes.x) == 5 * len(rows)
    random = sets.random.filter((pl.col("metric") == "f1") & (pl.col("split") == "train"))["value"]
    np.testing.assert_allclose(strokes.x[:5], 100 * (random - rows["unpruned"][0]))
    said = " ".join(strings_in(figure.to_plotly_json()))
    assert "worse than random" in said
    assert "like random" in said
    test = rows.filter(pl.col("split") == "test")
    counts = [len(test), *(test.filter(pl.col("verdict") == name).height for name in ("better", "worse"))]
    assert numbers_in(title_of(figure))[:3] == counts
    assert "empty" not in said
    assert "5 random sets of each size" in caption_of(figure)


def test_the_gap_is_between_both_texts(sets: Pruning) -> None:
    figure = plots.pruning_gap(sets, "accuracy")
    rows = sets.effects.filter(pl.col("metric") == "accuracy")
    by = {(row["set"], row["split"]): row for row in rows.iter_rows(named=True)}
    for split in ("train", "test"):
        values = named(figure, split).x
        assert values[0] == pytest.approx(100 * by["strong", split]["unpruned"])
        assert values[1] == pytest.approx(100 * by["strong", split]["value"])
        assert values[2] == pytest.approx(100 * by["strong", split]["random_mean"])
        assert len(values) == 1 + 5 + 1  # the whole model, five sets, the random sets of their one size
    gap = 100 * (by["strong", "train"]["unpruned"] - by["strong", "test"]["unpruned"])
    assert f"{abs(gap):.2f} points" in title_of(figure)


def test_curves_begin_with_the_whole_model(curves: Pruning) -> None:
    figure = plots.sparsity_curves(curves, "auroc")
    rows = curves.effects.filter(pl.col("metric") == "auroc")
    for ranking in ("mass", "taylor"):
        of = rows.filter(pl.col("ranking") == ranking)
        trace = named(figure, ranking)
        np.testing.assert_allclose(trace.x, [0, *(100 * of["share"])])
        np.testing.assert_allclose(trace.y, [100 * of["unpruned"][0], *(100 * of["value"])])
    band = named(figure, "random sets, lowest to highest of 4")
    random = curves.random.filter(pl.col("metric") == "auroc")
    extremes = [random.filter(pl.col("neurons") == k)["value"] for k in (1, 6)]
    np.testing.assert_allclose(band.y[1:3], [100 * each.max() for each in extremes])  # type: ignore[operator]
    np.testing.assert_allclose(band.y[3:5], [100 * each.min() for each in extremes[::-1]])  # type: ignore[operator]


def test_language_models_are_drawn_by_perplexity() -> None:
    chosen = [*curve_sets({"mass": np.arange(12.0)}, "rnn", (0.1, 0.5))]
    found = prune(recurrent_model(), chosen, {"test": reviews(20)}, random=0, resamples=20)
    figure = plots.sparsity_curves(found)
    assert figure.layout.yaxis.type == "log"
    assert "perplexity" in figure.layout.yaxis.title.text
    assert "perplexity" in title_of(plots.pruning_effects(found))


def test_what_cannot_be_drawn_is_told(sets: Pruning, curves: Pruning) -> None:
    for call, error, text in (
        (lambda: plots.pruning_effects(sets, "auroc2"), UnknownNameError, "did you mean 'auroc'"),
        (lambda: plots.pruning_gap(curves), UsageError, "prune with the texts train and test"),
        (lambda: plots.sparsity_curves(sets), UsageError, "no set was chosen by a ranking"),
        (lambda: plots.sparsity_curves(curves, split="tset"), UnknownNameError, "did you mean 'test'"),
    ):
        with pytest.raises(error, match=text):
            call()


def every(*prunings: Pruning) -> Iterator[tuple[str, go.Figure]]:
    for i, each in enumerate(prunings):
        yield f"effects {i}", plots.pruning_effects(each)
        if each.effects["split"].n_unique() > 1:
            yield f"gap {i}", plots.pruning_gap(each)
        if (each.effects["ranking"] != "").any():
            yield f"curves {i}", plots.sparsity_curves(each)


def test_names_are_text_and_not_markup(hostile: Pruning) -> None:
    for name, figure in every(hostile):
        content = figure.to_plotly_json()
        content["layout"].pop("template")
        for string in strings_in(content):
            assert "<b>$" not in string, name


def test_nothing_overlaps_and_nothing_is_cut(
    page: Page, sets: Pruning, curves: Pruning, hostile: Pruning
) -> None:
    for name, figure in every(sets, curves, hostile):
        draw(page, figure)
        texts = [
            *boxes(page, ".annotation-text"),
            *boxes(page, ".xtick text"),
            *boxes(page, ".xtitle, .ytitle"),
            *boxes(page, ".legendtext"),
            *boxes(page, ".gtitle"),
        ]
        assert not overlapping(texts), name
        for text, left, top, right, bottom in texts:
            assert left >= 0, (name, text)
            assert top >= 0, (name, text)
            assert right <= figure.layout.width, (name, text)
            assert bottom <= figure.layout.height, (name, text)
