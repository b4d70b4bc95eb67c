"""One neuron of a comparison: its words before and after, and what is significant about them."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.builders.stages import story
from txray import Stage, compare
from txray.analysis import Comparison, NeuronChange
from txray.analysis.neuron_sentence import neuron_sentence
from txray.analysis.rules import is_significant
from txray.errors import UnknownNameError, UsageError


@pytest.fixture(scope="module")
def stages() -> tuple[Stage, Stage]:
    made = story()
    return made[0], made[-1]


@pytest.fixture(scope="module")
def comparison(stages: tuple[Stage, Stage]) -> Comparison:
    return compare(*stages, permutations=100)


def test_words_are_ordered_by_lift_with_their_wins(comparison: Comparison) -> None:
    number = int(comparison.neurons.filter(pl.col("state") == "shared")["neuron"][0])
    change = comparison.neuron(number)
    assert isinstance(change, NeuronChange)
    for side, words in zip((comparison.before, comparison.after), change.words, strict=True):
        rows = np.flatnonzero(side.totals.neuron == number)
        expected = {
            (side.features[side.totals.feature_id[row]], int(side.totals.count[row]), float(side.lift()[row]))
            for row in rows
        }
        assert set(words.select("feature", "wins", "lift").iter_rows()) == expected
        assert words["lift"].is_sorted(descending=True)
        assert words["feature"][0] in change._repr_html_()
        assert repr(words["feature"][0]) in repr(change)


def test_tags_are_those_of_both_stages(comparison: Comparison, stages: tuple[Stage, Stage]) -> None:
    change = comparison.neuron(0)
    for stage, column in zip(stages, ("wins_before", "wins_after"), strict=True):
        pos = stage.preferences(layer=comparison.layer, feature_type="pos").table(0)
        counted = {tag: wins for tag, wins in change.tags.select("tag", column).iter_rows() if wins}
        assert counted == dict(pos.select("feature", "count").iter_rows())


def test_values_are_those_of_the_row(comparison: Comparison) -> None:
    for row in comparison.neurons.with_columns(significant=is_significant(0.05)).iter_rows(named=True):
        change = comparison.neuron(row["neuron"])
        assert change.state == row["confident_state"]
        assert change.significant is row["significant"]
        assert change.values["q_value"] == row["q_value"]
        assert change.sentence == neuron_sentence(row, "token", change.stages, 0.05)


def test_changed_neurons_are_the_significant_ones_in_order(comparison: Comparison) -> None:
    changed = comparison.changed()
    significant = comparison.neurons.filter(is_significant(0.05))
    assert sorted(changed["neuron"]) == sorted(significant["neuron"])
    scores = changed["z_score"].drop_nulls()
    assert scores.is_sorted(descending=True)
    for number, words in changed.select("neuron", "words_after").iter_rows():
        assert words == comparison.neuron(number).words[1]["feature"].head(4).to_list() or len(words) <= 4
    nothing = comparison.changed().clear()
    assert nothing.schema == changed.schema


def test_where_nothing_changed_the_table_is_empty(stages: tuple[Stage, Stage]) -> None:
    unchanged = compare(stages[0], stages[0], permutations=50)
    assert unchanged.changed().height == 0
    assert unchanged.changed().columns[-4:-2] == ["words_before", "words_after"]


@pytest.mark.parametrize("number", ["13", -1, 10**6, 1.5, True, None])
def test_other_neurons_are_refused(number: Any, comparison: Comparison) -> None:
    with pytest.raises(UsageError, match="pass an integer from 0 to"):
        comparison.neuron(number)
    assert comparison.neuron(np.int64(3)).number == 3


def test_figures_are_picked_by_name(comparison: Comparison, stages: tuple[Stage, Stage]) -> None:
    assert comparison.plot("volcano") == comparison.plot("volcano")
    for name in ("hellinger-length", "states", "length_shift", "gained_table", "least_changed_neurons"):
        assert comparison.plot(name).layout.height
    assert comparison.neuron(0).plot().layout.height
    with pytest.raises(UnknownNameError, match="did you mean 'volcano'"):
        comparison.plot("volcanos")
    plain = compare(
        *(stage.preferences(layer=comparison.layer, feature_type="token") for stage in stages), permutations=0
    )
    for draw in (lambda: plain.plot("most_changed_neurons"), plain.neuron(0).plot):
        with pytest.raises(UsageError, match="compare two stages that were collected with both"):
            draw()


def test_what_is_untested_is_not_called_changed(stages: tuple[Stage, Stage]) -> None:
    untested = compare(*stages, permutations=0)
    assert untested.neuron(0).significant is None
    assert "Observed, not tested" in untested.neuron(0).sentence
    with pytest.raises(UsageError, match=r"comparison\.test\(\)"):
        untested.changed()
