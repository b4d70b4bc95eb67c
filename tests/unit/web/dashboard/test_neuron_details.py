"""What is told of one neuron, beside what txray itself says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.builders.layered_stages import (
    AFTER,
    BEFORE,
    COME,
    GONE,
    HIGH,
    LAYERS,
    LOW,
    RARE,
    SILENT,
)
from tests.builders.writing_stages import writing_stages
from tests.unit.web.dashboard.conftest import StoreMaker, all_tested, settled
from txray.analysis import compare
from txray.errors import TxrayError, UsageError
from txray.plots.features import preferred
from txray.plots.text import sanitize
from txray.preferences import Stage
from txray.web.dashboard.neuron_details import nearest, neuron_details
from txray.web.dashboard.neuron_selection import NeuronSelection, hellinger_of
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.results import ComparisonConfig
from txray.web.dashboard.url_state import UrlState

NEURONS = [(LOW, 0), (LOW, 7), (HIGH, 3)]


def of(view: UrlState, layer: str, neuron: int | None) -> UrlState:
    return view.replace(page="neuron", layer=layer, neuron=neuron)


@pytest.mark.parametrize(("layer", "neuron"), NEURONS)
@pytest.mark.parametrize("feature_type", ["token", "pos"])
def test_probabilities_are_those_of_the_preferences(
    layer: str, neuron: int, feature_type: str, store: ResultStore, view: UrlState, stages: dict[str, Stage]
) -> None:
    table = _table(settled(neuron_details, of(view, layer, neuron), store), feature_type)
    sides = []
    for name in (BEFORE, AFTER):
        rows = stages[name].preferences(layer=layer, feature_type=feature_type).table(neuron)
        sides.append(dict(zip(map(sanitize, rows["feature"]), rows["probability"], strict=True)))
    assert {row[0] for row in table["rows"]} == set().union(*sides)
    for name, before, after in table["rows"]:
        assert before == pytest.approx(sides[0].get(name, 0), rel=1e-12)
        assert after == pytest.approx(sides[1].get(name, 0), rel=1e-12)
    largest = [max(row[1:]) for row in table["rows"]]
    assert largest == sorted(largest, reverse=True)


def _table(found: dict[str, Any], feature_type: str) -> dict[str, Any]:
    return next(table for table in found["tables"] if table["kind"] == feature_type)


@pytest.mark.parametrize(("layer", "neuron"), NEURONS)
def test_lifts_are_those_of_the_preferences_where_above_one(
    layer: str, neuron: int, store: ResultStore, view: UrlState, stages: dict[str, Stage]
) -> None:
    table = _table(settled(neuron_details, of(view, layer, neuron), store), "token lift")
    sides = []
    for name in (BEFORE, AFTER):
        rows = stages[name].preferences(layer=layer).table(neuron)
        sides.append(
            {sanitize(row[0]): row[1] for row in rows.select("feature", "lift").iter_rows() if row[1] > 1}
        )
    assert table["rows"]
    for name, *values in table["rows"]:
        assert values == pytest.approx([side.get(name, 0) for side in sides], rel=1e-12)


@pytest.mark.parametrize(("layer", "neuron"), NEURONS)
def test_distances_are_those_of_a_comparison(
    layer: str, neuron: int, store: ResultStore, view: UrlState, stages: dict[str, Stage]
) -> None:
    expected = compare(
        stages[BEFORE], stages[AFTER], layer=layer, feature_type="token", permutations=0
    ).neurons["hellinger"][neuron]
    sides = [preferred(stages[name].preferences(layer=layer), neuron) for name in (BEFORE, AFTER)]
    assert hellinger_of(*sides) == pytest.approx(expected, rel=1e-12)
    sentence = settled(neuron_details, of(view, layer, neuron), store)["sentence"]
    assert f"Hellinger distance {expected:.3f} over " in sentence


def test_a_distance_from_nothing_is_none(stages: dict[str, Stage]) -> None:
    nothing, something = (preferred(stages[BEFORE].preferences(layer=LOW), each) for each in (SILENT, 0))
    assert hellinger_of(nothing, something) is None
    assert hellinger_of(something, nothing) is None
    assert hellinger_of(something, something) == 0


@pytest.mark.parametrize(
    ("neuron", "state", "words"),
    [
        (GONE, "avoided", f"nothing in {sanitize(AFTER)}. In use only before: significant (5% FDR"),
        (COME, "gained", f"Prefers nothing in {BEFORE}"),
        (SILENT, "unpreferred", "Prefers nothing in either stage."),
        (RARE, "undecided", "Prefers 1 token"),
        (0, "shared", "Corrected Hellinger distance with its 95% interval"),
    ],
)
def test_the_sentence_tells_what_became_of_it(
    neuron: int, state: str, words: str, store: ResultStore, view: UrlState
) -> None:
    found = settled(neuron_details, of(view, LOW, neuron), store)
    assert found["state"] == state
    assert words in found["sentence"]
    assert "\n" not in found["sentence"]


@pytest.mark.parametrize(("layer", "neuron"), [*NEURONS, (LOW, SILENT), (LOW, RARE)])
def test_a_record_is_plain_json_without_anything_hidden(
    layer: str, neuron: int, store: ResultStore, view: UrlState
) -> None:
    found = settled(neuron_details, of(view, layer, neuron), store)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    texts = [row[0] for table in found["tables"] for row in table["rows"]]
    for side in found["exemplars"]:
        for item in side["items"]:
            texts += [item["word"], item["before"], item["after"]]
    for text in texts:
        assert not set(text) & set("\n\x00\x07\u202e")
        assert all(len(word) <= 60 for word in text.split(" "))


def test_exemplars_are_the_strongest_of_each_side(
    store: ResultStore, view: UrlState, stages: dict[str, Stage]
) -> None:
    found = settled(neuron_details, of(view, HIGH, 3), store)["exemplars"]
    assert [side["name"] for side in found] == [BEFORE, sanitize(AFTER)]
    for side, name in zip(found, (BEFORE, AFTER), strict=True):
        rows = stages[name].exemplars.filter(layer=HIGH, neuron=3).sort("rank")
        assert [item["activation"] for item in side["items"]] == rows["activation"].to_list()
        assert [item["word"] for item in side["items"]] == list(map(sanitize, rows["word"]))
        for item in side["items"]:
            words = sum(len(item[part].split(" ")) for part in ("before", "after") if item[part])
            assert len(item["activations"]) == words + 1


def test_what_a_neuron_writes_is_what_its_stages_store(store_over: StoreMaker, tmp_path: Path) -> None:
    stages = writing_stages()
    store = store_over([stage.save(tmp_path / stage.name) for stage in stages], tmp_path / "cache")
    view = UrlState(before="before", after="after", feature_type="token", page="neuron", layer="rnn")
    for number in range(8):
        details = settled(neuron_details, view.replace(neuron=number), store)
        assert [side["name"] for side in details["writes"]] == ["before", "after"]
        for side, stage in zip(details["writes"], stages, strict=True):
            neuron = stage.neuron(number)
            for name, tokens in (("promoted", neuron.promoted), ("suppressed", neuron.suppressed)):
                assert side[name] == list(map(sanitize, tokens["token"].head(10)))
            assert (len(side["promoted"]) == 0) == (number == 7)
            if number < 7 and neuron.wins:
                share = stage.output_agreement()["share"][number]
                assert f"{share:.1%}" in side["agreement"]


def test_stages_without_output_tokens_write_nothing(store: ResultStore, view: UrlState) -> None:
    details = settled(neuron_details, of(view, LOW, 0), store)
    assert [(side["promoted"], side["suppressed"], side["agreement"]) for side in details["writes"]] == [
        ([], [], None)
    ] * 2


def test_links_lead_to_the_feature_they_name(store: ResultStore, view: UrlState) -> None:
    table = _table(settled(neuron_details, of(view, LOW, 0), store), "token")
    for (name, *_), link in zip(table["rows"], table["links"], strict=True):
        path, _, search = link.partition("?")
        target = UrlState.parse(path, search)
        assert (target.page, target.feature_type, target.neuron) == ("feature", "token", None)
        assert sanitize(target.word) == name
        assert (target.before, target.after) == (BEFORE, AFTER)


def test_every_stage_with_the_layer_is_told_of(
    store: ResultStore, view: UrlState, stages: dict[str, Stage]
) -> None:
    found = settled(neuron_details, of(view, LOW, 0), store)["stages"]
    assert [each["name"] for each in found] == ["start", BEFORE, sanitize(AFTER)]
    for each, name in zip(found, ("start", BEFORE, AFTER), strict=True):
        whole = stages[name].preferences(layer=LOW)
        assert (each["length"], each["wins"]) == (whole.lengths()[0], whole.wins()[0])
        assert each["share"] == pytest.approx(whole.mass()[0] / whole.mass().sum())


def test_a_neuron_of_one_stage_alone_is_told_without_a_comparison(store: ResultStore, view: UrlState) -> None:
    alone = view.replace(before=BEFORE, after="wide", page="neuron", layer="wide", neuron=2)
    found = settled(neuron_details, alone, store)
    assert [side["name"] for side in found["sides"]] == ["wide"]
    assert found["sentence"].startswith("Prefers ")
    assert (found["state"], found["label"]) == ("shared", "in use")
    other_size = alone.replace(layer=HIGH)
    assert [stage.name for stage in NeuronSelection.of(other_size, store).sides] == ["wide"]
    assert settled(neuron_details, other_size, store)["sides"][0]["name"] == "wide"


@pytest.mark.parametrize("function", [neuron_details, nearest])
@pytest.mark.parametrize(
    ("layer", "neuron", "told"),
    [
        (LOW, None, "Pick a neuron"),
        (LOW, LAYERS[LOW], "has no neuron 12; there are 0 to 11"),
        (LOW, 999_999_999, "has no neuron 999999999"),
        ("lwo", 0, "unknown layer 'lwo' .did you mean 'low'"),
    ],
)
def test_a_neuron_that_is_not_there_is_a_wrong_request(
    function: Any, layer: str, neuron: int | None, told: str, store: ResultStore, view: UrlState
) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        settled(function, of(view, layer, neuron), store)
    assert "\n" not in str(caught.value)


def test_a_kind_that_neither_stage_holds_is_a_wrong_request(store: ResultStore, view: UrlState) -> None:
    alone = view.replace(before="wide", after="wide", feature_type="pos", layer="wide", neuron=1)
    with pytest.raises(UsageError, match="Neither stage has the feature type pos for layer wide"):
        NeuronSelection.of(alone, store)


@pytest.mark.parametrize(("layer", "neuron"), NEURONS)
def test_nearest_neurons_are_those_of_most_overlap(
    layer: str, neuron: int, store: ResultStore, view: UrlState, stages: dict[str, Stage]
) -> None:
    found = settled(nearest, of(view, layer, neuron), store)
    own = preferred(stages[AFTER].preferences(layer=layer), neuron)
    assert [side["stage"] for side in found] == [BEFORE, sanitize(AFTER)]
    for side, name in zip(found, (BEFORE, AFTER), strict=True):
        others = [n for n in range(LAYERS[layer]) if not (name == AFTER and n == neuron)]
        affinity = {
            n: 1 - (1 if distance is None else distance) ** 2
            for n in others
            for distance in [hellinger_of(own, preferred(stages[name].preferences(layer=layer), n))]
        }
        expected = sorted(affinity, key=lambda n: -affinity[n])[:8]
        assert [each["neuron"] for each in side["neurons"]] == [n for n in expected if affinity[n] > 1e-12]
        values = [each["affinity"] for each in side["neurons"]]
        assert values == pytest.approx([affinity[n] for n in expected][: len(values)], abs=1e-9)


def test_a_neuron_that_is_gone_is_looked_up_where_it_was(store: ResultStore, view: UrlState) -> None:
    found = settled(nearest, of(view, LOW, GONE), store)
    assert GONE not in [each["neuron"] for each in found[0]["neurons"]]
    with pytest.raises(UsageError, match="no word in either stage"):
        settled(nearest, of(view, LOW, SILENT), store)


def test_the_false_discovery_rate_decides_what_is_significant(
    folders: list[Path], cache: Path, store_over: StoreMaker, view: UrlState
) -> None:
    for fdr in (0.05, 0.001):
        asked = store_over(folders, cache, ComparisonConfig(fdr=fdr, permutations=200))
        q_value = all_tested(asked).neurons["q_value"][0]
        assert 0.001 < q_value < 0.05
        sentence = settled(neuron_details, of(view, LOW, 0), asked)["sentence"]
        assert ("; not significant: no change found" in sentence) == (q_value > fdr)


def test_what_cannot_be_compared_is_still_told(store: ResultStore, view: UrlState) -> None:
    with pytest.raises(TxrayError, match="no layer of the same size"):
        settled(store.pair, store.catalog[BEFORE], store.catalog["wide"], "token")
    found = settled(neuron_details, view.replace(after="wide", layer=LOW, neuron=0), store)
    assert [side["name"] for side in found["sides"]] == [BEFORE]
