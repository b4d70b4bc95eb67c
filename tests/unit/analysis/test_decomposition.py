"""Two models on two texts: arrangement, tables, verdicts, saving, and the words about them."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import txray
from txray.analysis import COMPARED, MARGINS, VERDICTS, Decomposition, compare
from txray.analysis.significance.chi_square import chi_square
from txray.analysis.significance.fold_counts import FoldCounts
from txray.analysis.significance.permutation import assignments, layer_p_value, observed
from txray.analysis.square import arranged, distinct_names, square_of
from txray.errors import ShapeError, UsageError
from txray.plots.text import sanitize
from txray.preferences import Stage
from txray.web.report import report

TEXTS = ("encyclopedia", "reviews")


def texts() -> list[txray.Corpus]:
    return [txray.demo_corpus(name, words=5_000) for name in TEXTS]


@pytest.fixture(scope="module")
def models() -> list[torch.nn.Module]:
    """A model, and the same one with noise."""
    one, other = texts()
    first, second = (
        txray.models.language_model("lstm", one.concat(other), embedding=24, hidden=20, seed=1)
        for _ in (0, 1)
    )
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return [first, second]


@pytest.fixture(scope="module")
def stages(models: list[torch.nn.Module]) -> list[Stage]:
    return [
        txray.collect(model, text, name=f"{name} on {text.name}", feature_types=["token", "pos"])
        for name, model in zip("AB", models, strict=True)
        for text in texts()
    ]


@pytest.fixture(scope="module")
def effects(stages: list[Stage]) -> Decomposition:
    return Decomposition.of(stages, permutations=200, seed=4)


def test_the_margins_are_the_four_comparisons(stages: list[Stage], effects: Decomposition) -> None:
    assert effects.margins["margin"].to_list() == list(MARGINS)
    for margin, (before, after) in COMPARED.items():
        comparison = compare(stages[before], stages[after], permutations=200, seed=4)
        rows = effects.neurons.filter(margin=margin)
        assert rows["q_value"].to_list() == comparison.neurons["q_value"].to_list()
        assert rows["hellinger_corrected"].to_list() == comparison.neurons["hellinger_corrected"].to_list()
        of_layer = effects.margins.filter(margin=margin).row(0, named=True)
        assert of_layer["hellinger_corrected"] == comparison.summary["hellinger_corrected"]
        assert of_layer["text_matched"] == comparison.text_matched == margin.startswith("text")
        assert of_layer["significant"] == rows["significant"].sum()
        assert of_layer["unknown"] == rows["significant"].null_count()
    assert effects.comparisons["rnn"]["text_in_a"].only_text
    assert effects.comparisons["rnn"]["model_on_a"].same_documents


def test_stages_are_arranged_by_what_their_manifests_say(stages: list[Stage]) -> None:
    for order in permutations(range(4)):
        given = [stages[index] for index in order]
        square = arranged(given)
        assert square[0] is given[0]
        names = [stage.name.split(" on ") for stage in square]
        assert names[0][0] == names[1][0] != names[2][0] == names[3][0]
        assert names[0][1] == names[2][1] != names[1][1] == names[3][1]
        assert square_of(given) == square


def test_stages_without_manifests_keep_their_order(stages: list[Stage]) -> None:
    bare = [replace(stage, manifest={}) for stage in stages]
    assert arranged(bare) == bare
    assert square_of(bare) is None


def test_other_stages_are_refused(stages: list[Stage], models: list[torch.nn.Module]) -> None:
    with pytest.raises(UsageError, match=r"3 stages .*pass four"):
        Decomposition.of(stages[:3])
    elsewhere = txray.collect(models[1], txray.demo_corpus("reviews", words=3_000), name="elsewhere")
    with pytest.raises(UsageError, match="not two models on the same two texts"):
        Decomposition.of([*stages[:3], elsewhere])
    assert square_of([*stages[:3], elsewhere]) is None
    with pytest.raises(UsageError, match="two different names"):
        Decomposition.of(stages, models=("A", "A"))
    with pytest.raises(UsageError, match="permutations=0"):
        Decomposition.of(stages, permutations=0)
    model = txray.models.language_model("lstm", texts()[0], embedding=8, hidden=9)
    larger = [txray.collect(model, text, name=text.name) for text in texts()]
    with pytest.raises(ShapeError, match="9 neurons"):
        Decomposition.of([*stages[:2], *larger], permutations=50)


def test_verdicts_follow_from_significance(effects: Decomposition) -> None:
    significant = {
        margin: effects.neurons.filter(margin=margin)["significant"].to_list() for margin in MARGINS
    }
    states = [effects.neurons.filter(margin=margin)["state"].to_list() for margin in COMPARED]

    def any_of(first: str, second: str, neuron: int) -> bool | None:
        values = significant[first][neuron], significant[second][neuron]
        return True if True in values else None if None in values else False

    for row in effects.verdicts.iter_rows(named=True):
        neuron = row["neuron"]
        model, text = any_of("model_on_a", "model_on_b", neuron), any_of("text_in_a", "text_in_b", neuron)
        if all(of_margin[neuron] == "unpreferred" for of_margin in states):
            expected = "unused"
        elif model is None or text is None:
            expected = "unknown"
        else:
            expected = {(1, 1): "both", (1, 0): "model", (0, 1): "text", (0, 0): "neither"}[model, text]
        assert row["verdict"] == expected
        assert row["interaction"] == significant["interaction"][neuron]
    counts = effects.summary["layers"]["rnn"]["verdicts"]
    assert list(counts) == list(VERDICTS)
    assert sum(counts.values()) == len(effects.verdicts)


def test_verdicts_of_a_table_made_by_hand() -> None:
    cases = {
        "both": (True, None, None, True),
        "model": (False, True, False, False),
        "text": (False, False, False, True),
        "neither": (False, False, False, False),
        "unknown": (True, True, False, None),
    }
    neurons = pl.DataFrame(
        [
            ("rnn", margin, number, "shared", value)
            for number, values in enumerate(cases.values())
            for margin, value in zip(MARGINS, (*values, None), strict=True)
        ],
        schema={
            "layer": pl.String,
            "margin": pl.Enum(MARGINS),
            "neuron": pl.Int64,
            "state": pl.String,
            "significant": pl.Boolean,
        },
        orient="row",
    )
    effects = replace(_empty(), neurons=neurons)
    assert effects.verdicts.sort("neuron")["verdict"].to_list() == list(cases)


def _empty() -> Decomposition:
    return Decomposition(
        pl.DataFrame(), pl.DataFrame(), {}, (), ("A", "B"), ("a", "b"), "token", {"fdr": 0.05}
    )


def test_one_model_twice_has_neither_an_effect_of_the_model_nor_an_interaction(stages: list[Stage]) -> None:
    a, b = stages[:2]
    effects = Decomposition.of([a, b, a, b], permutations=100)
    rows = {row["margin"]: row for row in effects.margins.iter_rows(named=True)}
    for margin in ("model_on_a", "model_on_b", "interaction"):
        assert rows[margin]["significant"] == 0
        assert rows[margin]["p_value"] == 1
        assert rows[margin]["hellinger_corrected_low"] == 0
    assert rows["text_in_a"]["significant"] == rows["text_in_b"]["significant"]


def test_the_p_value_of_a_layer_is_that_of_the_sum_over_neurons(stages: list[Stage]) -> None:
    draw = FoldCounts.of(stages[0].preferences(), stages[2].preferences())
    p_value = layer_p_value(draw, chi_square, paired=True, n=99, random=np.random.default_rng(1))
    sets = assignments(16, 99, True, np.random.default_rng(1))
    total = np.nansum(chi_square(draw, observed(16)))
    permuted = np.nansum(chi_square(draw, sets), axis=0)
    assert p_value == pytest.approx((1 + (permuted >= total - 1e-9).sum()) / 100)
    nothing = draw.subset(np.zeros(draw.n_neurons, bool))
    assert np.isnan(layer_p_value(nothing, chi_square, paired=True, n=9, random=np.random.default_rng(1)))


def test_it_is_saved_and_loaded(effects: Decomposition, tmp_path: Path) -> None:
    loaded = Decomposition.load(effects.save(tmp_path / "effects"))
    assert loaded.summary == effects.summary
    assert loaded.neurons.equals(effects.neurons)
    assert loaded.sentences() == effects.sentences()
    assert loaded.comparisons["rnn"]["text_in_b"].neurons.equals(
        effects.comparisons["rnn"]["text_in_b"].neurons
    )
    assert loaded.comparisons["rnn"]["text_in_b"].only_text
    assert "plotly" in type(loaded.plot()).__module__
    # The folder holds the four stages.
    again = Decomposition.of(tmp_path / "effects", permutations=200, seed=4)
    assert again.margins.equals(effects.margins)


def test_sentences_and_pages_hold_the_numbers(effects: Decomposition) -> None:
    counts, joint = (
        effects.summary["layers"]["rnn"]["verdicts"],
        effects.margins.filter(margin="interaction").row(0, named=True),
    )
    text = " ".join(effects.sentences())
    assert f"{counts['both']} by both" in text
    assert f"{joint['significant']} of {joint['tested']}" in text
    assert all(name in text for name in TEXTS)
    assert "encyclopedia → reviews" in effects._repr_html_()
    assert f"interaction {joint['significant']} of {joint['tested']}" in repr(effects)


@pytest.mark.parametrize("figure", ["decomposition", "model-and-text"])
def test_figures_show_margins_and_neurons(effects: Decomposition, figure: str) -> None:
    drawn = effects.plot(figure)
    if figure == "decomposition":
        marks = [trace.x[0] for trace in drawn.data if trace.marker.symbol == "diamond"]
        assert marks == pytest.approx(effects.margins["hellinger_corrected"].to_list())
        assert len(drawn.layout.yaxis.ticktext) == len(MARGINS)
    else:
        shown = sum(len(trace.customdata) for trace in drawn.data if trace.customdata is not None)
        wide = (
            effects.neurons.filter(pl.col("margin") != "interaction")
            .group_by("neuron")
            .agg(pl.col("hellinger_corrected").is_not_null().all())
        )
        assert shown == wide["hellinger_corrected"].sum() > 0


def test_names_of_models_and_texts_cannot_break_a_figure(stages: list[Stage]) -> None:
    name = "<img src=x onerror=alert(1)>\u202e" + "x" * 300
    effects = Decomposition.of(stages, models=(name, "B"), texts=("a", name), permutations=20)
    for figure in ("decomposition", "model_and_text"):
        assert "<img" not in effects.plot(figure).to_json()
    assert "<img" not in effects._repr_html_()
    assert sanitize(name) != name


def test_names_are_shortened_to_what_differs() -> None:
    assert distinct_names(["demo/encyclopedia/train", "demo/reviews/train"]) == ["encyclopedia", "reviews"]
    assert distinct_names(["imdb/train", "imdb/test"]) == ["train", "test"]
    assert distinct_names(["same", "same"]) == ["a", "b"]
    assert distinct_names(["", "text"]) == ["a", "b"]


def test_the_report_of_two_models_on_two_texts_decomposes_them(stages: list[Stage], tmp_path: Path) -> None:
    shuffled = [stages[index] for index in (0, 3, 2, 1)]
    page = report(shuffled, tmp_path / "report.html", permutations=30).read_text()
    assert "The neuron or the text" in page
    of_three = report(stages[:3], tmp_path / "three.html", permutations=30).read_text()
    assert "The neuron or the text" not in of_three
