"""One neuron of a stage, from memory and from its folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.builders.preferences import preferences_of, random_events, stage_of
from txray.errors import UnknownNameError, UsageError
from txray.preferences import NeuronPreferences, Stage, StageFolder

HOSTILE = '<img src=x onerror="alert(1)">'


@pytest.fixture
def stage() -> Stage:
    """A stage of one layer with tokens and their tags."""
    events = [*random_events(300, n_features=15), (0, 3, HOSTILE, 9.0)]
    stage = stage_of(events, "sup")
    tags = [
        (fold, neuron, "NN" if word in ("w0", "w1") else "VB", value) for fold, neuron, word, value in events
    ]
    pos = replace(preferences_of(tags, "sup"), feature_type="pos")
    words = sorted({event[2] for event in events})
    table = pl.DataFrame(
        {
            "token": words,
            "pos": ["NN" if word in ("w0", "w1") else "VB" for word in words],
            "count": [1] * len(words),
        }
    )
    return replace(stage, collected={**stage.collected, ("rnn", "pos"): pos}, tags=table)


@pytest.fixture
def folder(stage: Stage, tmp_path: Path) -> StageFolder:
    """The same on disk."""
    return StageFolder.open(stage.save(tmp_path / "sup"))


def test_words_come_by_lift_with_the_numbers_of_the_table(stage: Stage) -> None:
    neuron = stage.neuron(3)
    assert (neuron.stage, neuron.layer, neuron.number, neuron.feature_type) == ("sup", "rnn", 3, "token")
    assert neuron.words.columns == ["feature", "wins", "lift", "mean"]
    table = stage.preferences().table(3)
    expected = {
        row["feature"]: (row["count"], row["lift"], row["mean"]) for row in table.iter_rows(named=True)
    }
    assert {feature: tuple(rest) for feature, *rest in neuron.words.iter_rows()} == expected
    assert neuron.words["lift"].is_sorted(descending=True)
    assert neuron.words["lift"][0] > neuron.words["lift"][-1]
    assert neuron.wins == stage.preferences().wins()[3] == neuron.words["wins"].sum()


def test_tags_are_shares_of_the_wins(stage: Stage) -> None:
    neuron = stage.neuron(3)
    assert set(neuron.tags["tag"]) == {"NN", "VB"}
    assert neuron.tags["wins"].sum() == neuron.wins
    assert neuron.tags["share"].sum() == pytest.approx(1)
    nouns = neuron.words.filter(pl.col("feature").is_in(["w0", "w1"]))["wins"].sum()
    assert dict(neuron.tags.select("tag", "wins").iter_rows())["NN"] == nouns
    assert neuron.tags["wins"].is_sorted(descending=True)


def test_exemplars_are_its_own_the_strongest_first(stage: Stage) -> None:
    exemplars = stage.neuron(3).exemplars
    assert exemplars.equals(stage.exemplars.filter(layer="rnn", neuron=3).sort("rank"))
    assert exemplars["word"][0] == HOSTILE
    assert exemplars["activation"].is_sorted(descending=True)


def test_memory_and_folder_give_the_same_neuron(stage: Stage, folder: StageFolder) -> None:
    for number in range(12):
        one, other = stage.neuron(number), folder.neuron(number, layer="rnn")
        for name in ("words", "tags", "exemplars"):
            assert getattr(one, name).equals(getattr(other, name)), name
        assert one.wins == other.wins
        assert one._repr_html_() == other._repr_html_()


@pytest.mark.parametrize("wrong", [-1, 12, 1.0, True, None, "3", [3]])
def test_a_number_that_no_neuron_has_is_one_line(wrong: object, stage: Stage, folder: StageFolder) -> None:
    for source in (stage, folder):
        with pytest.raises(
            UsageError, match=r"'sup': layer 'rnn' has no neuron .*; pass an integer from 0 to 11"
        ) as caught:
            source.neuron(wrong)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)


def test_a_number_may_be_of_numpy(stage: Stage) -> None:
    assert stage.neuron(np.int64(3)).number == 3  # type: ignore[arg-type]
    assert type(stage.neuron(np.int64(3)).number) is int  # type: ignore[arg-type]


def test_wrong_names_are_answered_with_those_that_are_there(stage: Stage, folder: StageFolder) -> None:
    for source in (stage, folder):
        with pytest.raises(UnknownNameError, match="'rn'.*did you mean 'rnn'"):
            source.neuron(3, layer="rn")
        with pytest.raises(UnknownNameError, match="feature type .*'label'.*token, pos"):
            source.neuron(3, feature_type="label")


def test_other_feature_types_are_listed_too(stage: Stage) -> None:
    neuron = stage.neuron(3, feature_type="pos")
    assert set(neuron.words["feature"]) == {"NN", "VB"}
    with pytest.raises(UsageError, match="'token' and 'pos'"):
        neuron.plot()


def test_a_neuron_that_never_wins_is_empty_and_says_so(stage: Stage) -> None:
    events = [event for event in random_events(100) if event[1] != 5]
    neuron = stage_of(events).neuron(5)
    assert (neuron.wins, len(neuron.words), len(neuron.tags), len(neuron.exemplars)) == (0, 0, 0, 0)
    assert "0 features: none" in repr(neuron)
    assert "never won a word" in neuron._repr_html_()


def test_a_neuron_shows_itself(stage: Stage) -> None:
    neuron = stage.neuron(3)
    text = repr(neuron)
    assert "number=3" in text
    assert repr(neuron.words["feature"][0]) in text
    html = neuron._repr_html_()
    assert HOSTILE not in html
    assert "&lt;img src=x" in html
    for heading in ("Most distinctive words", "Parts of speech", "Strongest occurrences"):
        assert heading in html
    assert "Parts of speech" not in NeuronPreferences._repr_html_(stage_of(random_events(50)).neuron(1))


def test_it_is_drawn_over_its_tags(stage: Stage, folder: StageFolder) -> None:
    figure = stage.neuron(3).plot()
    assert "Neuron 3 prefers" in figure.layout.title.text
    assert figure.to_plotly_json() == folder.neuron(3).plot().to_plotly_json()
    with pytest.raises(UsageError, match="needs the feature types 'token' and 'pos'"):
        stage_of(random_events(50)).neuron(1).plot()


def test_a_stage_is_indexed_by_name(stage: Stage, folder: StageFolder) -> None:
    for source in (stage, folder):
        assert source["rnn", "pos"].feature_type == "pos"
        assert source["rnn", "token"].table().equals(source.preferences().table())
        with pytest.raises(UsageError, match=r"several feature types; index it as stage\['rnn', 'token'\]"):
            source["rnn"]
        with pytest.raises(UnknownNameError, match="'lstm'"):
            source["lstm", "token"]
        for wrong in (0, ("rnn", 1), ("rnn", "token", "x"), None, ()):
            with pytest.raises(UsageError, match='stage\\["layer", "feature type"\\]'):
                source[wrong]  # type: ignore[index]
        with pytest.raises(TypeError):
            iter(source)  # type: ignore[call-overload]
    alone = stage_of(random_events(50))
    assert alone["rnn"] is alone.preferences()


@pytest.mark.parametrize("method", ["preferences", "to_dataset"])
def test_layer_and_feature_type_are_keywords(method: str, stage: Stage) -> None:
    with pytest.raises((TypeError, UsageError), match="positional"):
        getattr(stage, method)("rnn")


def test_preferences_show_themselves(stage: Stage) -> None:
    html = stage.preferences()._repr_html_()
    assert "layer rnn" in html
    assert "12 of 12 neurons" in html
    assert HOSTILE not in html
    assert "0 of 4 neurons" in preferences_of([], n_neurons=4)._repr_html_()
