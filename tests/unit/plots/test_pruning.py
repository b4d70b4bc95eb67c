"""Figures of pruned models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import polars as pl
import pytest
from playwright.sync_api import Page
from scipy.stats import false_discovery_control, norm
from scipy.stats import t as student

from tests.builders.classifiers import recurrent_classifier, recurrent_model, reviews, synthetic_classifier
from tests.builders.figures import caption_of, numbers_in, strings_in, title_of
from tests.unit.plots.rendering import boxes, draw, overlapping
from txray import Pruning, plots, prune
from txray.errors import ChanceWarning, UnknownNameError, UsageError
from txray.plots.text import signed
from txray.pruning import NeuronSet, curve_sets
from txray.pruning.multiplicity import corrected

HOSTILE = "<b>$a$</b>" + "w" * 90


@pytest.fixture(scope="module")
def sets() -> Pruning:
    from benchmarks.evidence.pruning import known_sets

    classifier = synthetic_classifier()
    texts = {"train": classifier.documents(150, 1), "test": classifier.documents(150, 2)}
    return prune(
        classifier.model,
        [*known_sets(), NeuronSet("empty", "rnn", ())],
        texts,
        n_random_sets=5,
        resamples=100,
    )


@pytest.fixture(scope="module")
def curves() -> Pruning:
    scores = {"mass": np.arange(12.0), "taylor": np.arange(12.0)[::-1]}
    return prune(
        recurrent_classifier(),
        curve_sets(scores, "rnn", (0.1, 0.5)),
        {"test": reviews()},
        n_random_sets=4,
        resamples=50,
    )


@pytest.fixture(scope="module")
def hostile() -> Pruning:
    chosen = [NeuronSet(HOSTILE + str(i), "rnn", tuple(range(i + 1)), HOSTILE + str(i)) for i in range(8)]
    texts = {HOSTILE: reviews(30, 1), HOSTILE + "2": reviews(30, 2)}
    return prune(recurrent_classifier(), chosen, texts, n_random_sets=3, resamples=20)


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
    strokes = named(figure, "random sets of the same size")
    assert len(strokes.x) == 5 * len(rows)
    random = sets.random.filter((pl.col("metric") == "f1") & (pl.col("split") == "train"))["value"]
    np.testing.assert_allclose(strokes.x[:5], 100 * (random - rows["unpruned"][0]))
    said = " ".join(strings_in(figure.to_plotly_json()))
    assert "worse than random" in said
    assert "like random" in said
    known = corrected(rows)
    counts = [known.filter(pl.col("corrected_verdict") == name).height for name in ("better", "worse")]
    assert numbers_in(title_of(figure).split(":")[1]) == [*counts, len(rows), 5]
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
    assert f"whole model {signed(gap)} points" in title_of(figure)


def test_the_title_of_a_gap_tells_what_differs_from_the_whole_model(sets: Pruning) -> None:
    title = title_of(plots.pruning_gap(sets, "accuracy"))
    rows = sets.effects.filter((pl.col("metric") == "accuracy") & pl.col("value").is_not_null())
    p_values, widens = [], []
    for name in rows["set"].unique(maintain_order=True):
        change, drawn, gaps = [], [], []
        for split in ("train", "test"):
            row = rows.row(by_predicate=(pl.col("set") == name) & (pl.col("split") == split), named=True)
            chosen = sets.resamples.filter(set=name, split=split, metric="accuracy").sort("resample")
            change.append(row["change"])
            drawn.append(chosen["change"].to_numpy())
            gaps.append((row["unpruned"], row["value"]))
        spread = (drawn[0] - drawn[1]).std(ddof=1)
        p_values.append(2 * norm.sf(abs(change[0] - change[1]) / spread) if spread else 1.0)
        widens.append(abs(gaps[0][1] - gaps[1][1]) > abs(gaps[0][0] - gaps[1][0]))
    significant = false_discovery_control(p_values) <= 0.05
    wider = int((significant & np.array(widens)).sum())
    assert numbers_in(title.split(";")[1]) == [wider, len(p_values), int(significant.sum()) - wider, 5]


def test_a_gap_of_one_set_stands_beside_the_whole_models() -> None:
    texts = {"train": reviews(40, 1), "test": reviews(40, 2)}
    found = prune(
        recurrent_classifier(), [NeuronSet("A", "rnn", (1, 2))], texts, n_random_sets=2, resamples=50
    )
    title = title_of(plots.pruning_gap(found, "loss"))
    gaps = [
        np.subtract(*found.effects.filter(pl.col("metric") == "loss")[name]) for name in ("unpruned", "value")
    ]
    assert f"whole model {signed(gaps[0])}" in title
    assert f"after pruning A {signed(gaps[1])}" in title
    assert f"changed by {signed(gaps[1] - gaps[0])}, 95% interval" in title


def test_p_values_are_those_of_the_intervals(curves: Pruning) -> None:
    rows = curves.effects.filter(pl.col("metric") == "loss")
    reach = (rows["versus_random_high"] - rows["versus_random"]).to_numpy()
    # A small layer has few sets of one neuron: each counts once.
    drawn = [curves.random.filter(metric="loss", neurons=size).height for size in rows["neurons"]]
    freedom = np.array(drawn) - 1
    scale = reach / student.ppf(0.975, freedom)
    expected = 2 * student.sf(np.abs(rows["versus_random"].to_numpy()) / scale, freedom)
    np.testing.assert_allclose(rows["versus_random_p_value"], expected, rtol=1e-6)
    outside = (rows["versus_random_low"] > 0) | (rows["versus_random_high"] < 0)
    assert ((rows["versus_random_p_value"] < 0.05) == outside).all()


@pytest.mark.parametrize(("p_value", "called"), [(0.03, 0), (0.001, 1)])
def test_one_unlikely_set_among_many_is_called_better_only_if_that_is_unlikely(
    curves: Pruning, p_value: float, called: int
) -> None:
    effects = curves.effects.with_columns(
        verdict=pl.when(pl.int_range(pl.len()).over("metric") == 0)
        .then(pl.lit("better"))
        .otherwise(pl.lit("not distinguishable")),
        versus_random_p_value=pl.when(pl.int_range(pl.len()).over("metric") == 0)
        .then(p_value)
        .otherwise(0.6),
    )
    found = replace(curves, effects=effects)
    for figure_of in (plots.sparsity_curves, plots.pruning_effects):
        counts = title_of(figure_of(found, "loss")).split(":")[1].split(";")[0]
        assert numbers_in(counts) == [called, 0, 4, 5]
    said = " ".join(strings_in(plots.pruning_effects(found, "loss").to_plotly_json()["layout"]))
    assert ("better than random<" in said or "better than random " in said) == bool(called)


def test_a_model_that_knows_nothing_is_named_in_every_title() -> None:
    texts = {"train": reviews(40, 1), "test": reviews(40, 2)}
    chosen = curve_sets({"mass": np.arange(12.0)}, "rnn", (0.1, 0.5))
    with pytest.warns(ChanceWarning, match="'test' the unpruned model is not better than chance"):
        found = prune(recurrent_classifier(), chosen, texts, n_random_sets=2, resamples=50)
    for figure_of in (plots.pruning_effects, plots.pruning_gap, plots.sparsity_curves):
        for metric in ("auroc", "accuracy", "f1"):
            title = title_of(figure_of(found, metric))
            assert "the whole model is not better than chance on" in title
            assert ("accuracy 0.500, by chance 0.500" in title) == (metric == "accuracy")
            assert "interval of the difference" in caption_of(figure_of(found, metric))


def test_a_model_that_knows_something_is_not_doubted(sets: Pruning) -> None:
    levels = [text["chance"] for text in sets.summary["texts"].values()]
    assert all(level["above"] for text in levels for level in text.values())
    for figure_of in (plots.pruning_effects, plots.pruning_gap):
        assert "chance" not in title_of(figure_of(sets, "auroc"))


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
    found = prune(recurrent_model(), chosen, {"test": reviews(20)}, n_random_sets=0, resamples=20)
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
