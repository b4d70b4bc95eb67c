"""The explorer's data against a plain recount from the preference tables."""

from __future__ import annotations

import json
import math
from typing import Any

import polars as pl
import pytest

from tests.builders.stages import stage_of, story, vocabulary
from tests.builders.writing_stages import writing_stages
from txray.analysis import CONFIDENT_STATES, STATES, Comparison, compare
from txray.plots import stage_styles
from txray.preferences import Stage
from txray.web.report.explorer import BEYOND, EXEMPLARS, FEATURES, explorer_data


def data_of(stages: list[Stage], comparisons: list[Comparison]) -> dict[str, Any]:
    data = explorer_data(stages, comparisons, stage_styles([stage.name for stage in stages]))
    # What the page reads is JSON: nothing may depend on Python types.
    return dict(json.loads(json.dumps(data, allow_nan=False)))


@pytest.fixture(scope="module")
def stages() -> list[Stage]:
    return story()


@pytest.fixture(scope="module")
def comparisons(stages: list[Stage]) -> list[Comparison]:
    return [compare(stages[i], stages[i + 1], permutations=0) for i in range(3)]


@pytest.fixture(scope="module")
def data(stages: list[Stage], comparisons: list[Comparison]) -> dict[str, Any]:
    return data_of(stages, comparisons)


def probabilities(stage: Stage, kind: str, neuron: int) -> dict[str, float]:
    table = stage.preferences(layer="rnn", feature_type=kind).table(neuron)
    return dict(zip(table["feature"], table["probability"], strict=True))


@pytest.mark.parametrize("kind", ["token", "pos"])
def test_features_are_the_strongest_of_either_stage(
    stages: list[Stage], data: dict[str, Any], kind: str
) -> None:
    listed = 0
    for index, pair in enumerate(data["pairs"]):
        features = pair["features"][kind]
        for neuron in range(60):
            p, q = (probabilities(stages[index + side], kind, neuron) for side in (0, 1))
            union = {name: max(p.get(name, 0.0), q.get(name, 0.0)) for name in p.keys() | q.keys()}
            wanted = sorted(union, key=lambda name: (-union[name], name))[:FEATURES]
            rows = slice(features["start"][neuron], features["start"][neuron + 1])
            names = [data["words"][kind][i] for i in features["id"][rows]]
            assert names == wanted
            assert features["before"][rows] == pytest.approx([p.get(name, 0.0) for name in names], rel=1e-3)
            assert features["after"][rows] == pytest.approx([q.get(name, 0.0) for name in names], rel=1e-3)
            assert features["union"][neuron] == len(union)
            listed += len(names)
        assert features["start"][0] == 0
        assert features["start"][60] == len(features["id"])
    assert listed > 500


def test_what_a_stage_does_not_prefer_is_exactly_zero(stages: list[Stage], data: dict[str, Any]) -> None:
    features = data["pairs"][0]["features"]["token"]
    known = {neuron: probabilities(stages[0], "token", neuron) for neuron in range(60)}
    absent = 0
    for neuron in range(60):
        for i in range(features["start"][neuron], features["start"][neuron + 1]):
            if data["words"]["token"][features["id"][i]] not in known[neuron]:
                assert features["before"][i] == 0
                absent += 1
    assert absent > 10


def test_rows_are_those_of_the_comparison(comparisons: list[Comparison], data: dict[str, Any]) -> None:
    seen = set()
    for comparison, pair in zip(comparisons, data["pairs"], strict=True):
        for row in comparison.neurons.iter_rows(named=True):
            neuron = row["neuron"]
            assert STATES[pair["state"][neuron]] == row["state"]
            seen.add(row["state"])
            for name in ("length_before", "length_after"):
                assert pair[name][neuron] == row[name]
            for name in ("mass_before", "mass_after"):
                assert pair[name][neuron] == pytest.approx(row[name], rel=1e-3)
            if row["hellinger"] is None:
                assert pair["hellinger"][neuron] is None
            else:
                assert pair["hellinger"][neuron] == pytest.approx(row["hellinger"], rel=1e-3)
    assert seen == set(STATES)


def test_tests_come_with_tested_comparisons(stages: list[Stage], data: dict[str, Any]) -> None:
    assert all(pair["tests"] is None for pair in data["pairs"])
    comparison = compare(stages[0], stages[1], permutations=500)
    (pair,) = data_of(stages, [comparison])["pairs"]
    neurons = comparison.neurons
    assert [CONFIDENT_STATES[state] for state in pair["state"]] == neurons["confident_state"].to_list()
    tests = pair["tests"]
    for row in neurons.iter_rows(named=True):
        changed = row["q_value"] is not None and row["q_value"] <= 0.05
        assert tests["sure"][row["neuron"]] == (changed or row["confident_state"] in ("avoided", "gained"))
        for name, column in (
            ("q", "q_value"),
            ("corrected", "hellinger_corrected"),
            ("low", "hellinger_corrected_low"),
            ("high", "hellinger_corrected_high"),
        ):
            value = tests[name][row["neuron"]]
            assert value == (None if row[column] is None else pytest.approx(row[column], rel=1e-3))
        sentence = pair["sentence"][row["neuron"]]
        if row["q_value"] is not None:
            assert f"{row['distance_matched']:.3f}, {row['distance_null']:.3f}" in sentence
    assert {state["name"] for state in pair["states"]} >= {"in both stages", "only before", "undecided"}
    order = sorted(range(60), key=tests["rank"].__getitem__)
    assert [tests["sure"][neuron] for neuron in order] == sorted(tests["sure"], reverse=True)
    signals = neurons["signal"].to_list()
    ranked = [signals[neuron] for neuron in order if tests["sure"][neuron] and signals[neuron] is not None]
    assert ranked == sorted(ranked, reverse=True)


def test_features_beyond_frequency_are_those_of_highest_lift(
    stages: list[Stage], data: dict[str, Any]
) -> None:
    for index, pair in enumerate(data["pairs"]):
        for side, beyond in enumerate(pair["beyond"]):
            table = stages[index + side].preferences().table().filter(pl.col("lift") > 1)
            for neuron in range(60):
                ids = beyond["id"][beyond["start"][neuron] : beyond["start"][neuron + 1]]
                mine = table.filter(pl.col("neuron") == neuron).sort(
                    ["lift", "feature"], descending=[True, False]
                )
                assert [data["words"]["token"][i] for i in ids] == mine["feature"].head(BEYOND).to_list()


def test_pairs_point_at_their_stages(data: dict[str, Any]) -> None:
    assert [stage["name"] for stage in data["stages"]] == ["epoch-01", "epoch-48", "zero-shot", "sup"]
    assert [(pair["before"], pair["after"]) for pair in data["pairs"]] == [(0, 1), (1, 2), (2, 3)]


def test_what_neurons_write_is_what_their_stages_store() -> None:
    stages = list(writing_stages())
    data = data_of(stages, [compare(*stages, permutations=0)])
    tokens = data["words"]["output tokens"]
    for shown, stage in zip(data["stages"], stages, strict=True):
        writes, agreement = shown["layers"]["rnn"]["writes"], stage.output_agreement()
        for number in range(8):
            neuron = stage.neuron(number)
            for side, table in (("promoted", neuron.promoted), ("suppressed", neuron.suppressed)):
                rows = slice(*writes[side]["start"][number : number + 2])
                assert [tokens[i] for i in writes[side]["id"][rows]] == table["token"].head(10).to_list()
            share = agreement["share"][number]
            sentence = writes["agreement"][number]
            assert sentence is None if share is None else f"{share:.1%}" in sentence


def test_stages_without_output_tokens_write_nothing(data: dict[str, Any]) -> None:
    assert [stage["layers"]["rnn"]["writes"] for stage in data["stages"]] == [None] * len(data["stages"])
    assert "output tokens" not in data["words"]


def test_exemplars_are_the_strongest_of_each_neuron(stages: list[Stage], data: dict[str, Any]) -> None:
    for stage, shown in zip(stages, data["stages"], strict=True):
        exemplars = shown["layers"]["rnn"]["exemplars"]
        assert len(exemplars["start"]) == 61
        for neuron in range(60):
            rows = stage.exemplars.filter(neuron=neuron).sort("rank").head(EXEMPLARS)
            place = slice(exemplars["start"][neuron], exemplars["start"][neuron + 1])
            for name in ("word", "before", "after", "document", "position", "output", "label"):
                assert exemplars[name][place] == rows[name].to_list(), name
            assert exemplars["activation"][place] == pytest.approx(rows["activation"].to_list(), rel=1e-3)
            for found, wanted in zip(exemplars["activations"][place], rows["activations"], strict=True):
                assert (found is None) == (wanted is None)
                if found is not None:
                    assert found == pytest.approx(wanted.to_list(), rel=6e-3)
    assert None not in data["stages"][0]["layers"]["rnn"]["exemplars"]["activations"]
    assert set(data["stages"][3]["layers"]["rnn"]["exemplars"]["activations"]) == {None}
    assert any(data["stages"][3]["layers"]["rnn"]["exemplars"]["probability"])
    assert not any(data["stages"][0]["layers"]["rnn"]["exemplars"]["probability"])


def test_sizes_of_a_stage(stages: list[Stage], data: dict[str, Any]) -> None:
    for stage, shown in zip(stages, data["stages"], strict=True):
        preferences = stage.preferences()
        layer = shown["layers"]["rnn"]
        assert layer["length"] == preferences.lengths().tolist()
        assert layer["wins"] == preferences.wins().tolist()
        assert math.isclose(sum(layer["mass"]), preferences.mass().sum(), rel_tol=1e-3)


def test_the_weight_of_the_comparison_counts() -> None:
    words = vocabulary(30)
    stages = [stage_of("a", words, seed=1), stage_of("b", words, seed=2)]
    mean, mass = (
        data_of(stages, [compare(*stages, weight=weight, permutations=0)]) for weight in ("mean", "mass")
    )
    wanted = stages[0].preferences().distributions("mass").matrix.toarray()
    features = mass["pairs"][0]["features"]["token"]
    names = stages[0].preferences().features.tolist()
    first = features["id"][0]
    assert features["before"][0] == pytest.approx(
        wanted[0, names.index(mass["words"]["token"][first])], rel=1e-3
    )
    assert mean["pairs"][0]["features"]["token"]["before"] != features["before"]


def test_kinds_that_only_one_stage_holds_are_left_out() -> None:
    words = vocabulary(30)
    before, after = stage_of("a", words), stage_of("b", words, seed=1)
    bare = Stage("b", {("rnn", "token"): after.preferences()}, after.exemplars)
    assert list(data_of([before, bare], [compare(before, bare, permutations=0)])["pairs"][0]["features"]) == [
        "token"
    ]


def test_a_stage_without_the_feature_is_only_named() -> None:
    words = vocabulary(30)
    stages = [stage_of(name, words, seed=seed) for seed, name in enumerate("abc")]
    stages[2] = Stage(
        "c", {("rnn", "pos"): stages[2].preferences(layer="rnn", feature_type="pos")}, stages[2].exemplars
    )
    data = data_of(stages, [compare(*stages[:2], permutations=0)])
    assert [list(stage["layers"]) for stage in data["stages"]] == [["rnn"], ["rnn"], []]


def test_words_are_made_visible_and_short() -> None:
    words = [*vocabulary(50), "a\x00b", "\u202eevil", "x" * 1_000_000]
    stages = [stage_of(name, words, n_words=60, seed=i) for i, name in enumerate("ab")]
    data = data_of(stages, [compare(*stages, permutations=0)])
    text = json.dumps(data, ensure_ascii=False)
    assert len(text) < 200_000
    assert "\x00" not in text
    assert "\\u0000" not in text
    assert "\u202e" not in text
    assert any(word.endswith("…") and len(word) == 40 for word in data["words"]["token"])
