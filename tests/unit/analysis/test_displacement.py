"""Changes that the growth or decline of another neuron explains, and those that it does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tests.builders.growing import LAYER, scaled, with_activations_of
from txray import Comparison, Preferences, collect, compare, synthetic_pair
from txray.analysis.neuron_exchange import exchanged_words
from txray.analysis.rules import is_significant
from txray.analysis.significance.displacement import NO_RIVAL, Rivals
from txray.analysis.significance.tests import SignificanceSettings, displacement_test
from txray.preferences.runner_ups import RunnerUps
from txray.synthetic import synthetic_text

TEXT = synthetic_text(40_000, seed=5)
GROWN = 0.3


@pytest.fixture(scope="module")
def unchanged() -> Comparison:
    """One neuron grows until it takes many words; the activations of all others are the same to the bit."""
    pair = synthetic_pair(80, corpus=TEXT, changed=0, vanished=0, appeared=0, rarer=0, seed=1)
    before, after = (
        collect(scaled(pair.before, n15=factor), TEXT, layers=LAYER, name=name)
        for name, factor in (("before", 1.0), ("after", 1e9))
    )
    return compare(before, after)


@pytest.fixture(scope="module")
def mixed() -> tuple[Comparison, pl.DataFrame]:
    """A neuron grows to 30% of the wins, and a fifth of the others change."""
    pair = synthetic_pair(
        100, corpus=TEXT, changed=0.2, vanished=0, appeared=0, rarer=0, displacement=GROWN, seed=2
    )
    before, after = (
        collect(model, TEXT, layers=pair.layer, name=name).preferences()
        for name, model in (("before", pair.before), ("after", with_activations_of(pair)))
    )
    return compare(before, after), pair.truth


def test_neurons_with_the_same_activations_are_displaced_not_changed(unchanged: Comparison) -> None:
    neurons = unchanged.neurons
    (grown,) = (neurons["wins_after"].cast(pl.Int64) - neurons["wins_before"]).arg_sort(descending=True)[:1]
    others = neurons.filter(pl.col("neuron") != grown)
    called = others.filter(pl.col("q_value") <= 0.05)
    assert len(called) >= 5
    displaced = others.filter(pl.col("confident_state") == "displaced")
    assert len(displaced) >= 0.9 * len(called)
    assert displaced["displaced_by"].unique().to_list() == [grown]
    # With the neuron left out, both stages are the same.
    assert (displaced["displaced_p_value"] == 1).all()
    left_out = [side.without(grown) for side in (unchanged.before, unchanged.after)]
    for name in ("fold", "neuron", "feature_id", "count", "sum", "max"):
        np.testing.assert_array_equal(*(getattr(side, name) for side in left_out))


def test_the_neuron_that_grew_is_called_changed(unchanged: Comparison) -> None:
    row = unchanged.neurons.row(15, named=True)
    assert row["confident_state"] == "shared"
    assert unchanged.neuron(15).significant


def test_neurons_that_changed_under_the_same_competition_are_called_changed(
    mixed: tuple[Comparison, pl.DataFrame],
) -> None:
    comparison, truth = mixed
    neurons = comparison.neurons.join(truth.select("neuron", "group"), on="neuron")
    changed = neurons.filter((pl.col("group") == "changed") & (pl.col("q_value") <= 0.05))
    assert len(changed) >= 15
    assert (changed["confident_state"] == "displaced").sum() <= 1
    assert changed.select(is_significant(0.05).sum()).item() >= len(changed) - 1
    same = neurons.filter((pl.col("group") == "unchanged") & (pl.col("q_value") <= 0.05))
    assert len(same) >= 8
    assert (same["confident_state"] == "displaced").mean() >= 0.8  # type: ignore[operator]


def test_findings_count_and_name_the_cause(unchanged: Comparison) -> None:
    findings = unchanged.findings
    number = unchanged.summary["displaced"]
    assert findings.states["displaced"] == number
    assert next(iter(findings.displaced_by)) == 15
    assert f"{number} displaced" in findings.displacement
    assert "neuron 15" in findings.displacement
    assert any("neuron 15" in sentence for sentence in findings.sentences("before", "after"))
    assert f"{number} displaced" in repr(unchanged)
    assert len(unchanged.changed()) == unchanged.summary["changed"]


def test_a_displaced_neuron_says_by_whom_and_what_it_lost(unchanged: Comparison) -> None:
    row = unchanged.neurons.filter(pl.col("confident_state") == "displaced").sort("displaced_share")
    neuron = unchanged.neuron(int(row["neuron"][-1]))
    assert neuron.state == "displaced"
    assert not neuron.significant
    assert "Displaced by neuron 15" in neuron.sentence
    first = neuron.exchanged.row(0, named=True)
    assert first["neuron"] == 15
    lost = neuron.values["wins_before"] - neuron.values["wins_after"]
    assert first["taken_after"] >= lost > 0
    share = first["taken_after"] / (neuron.values["wins_after"] + first["taken_after"])
    share -= first["taken_before"] / (neuron.values["wins_before"] + first["taken_before"])
    assert neuron.values["displaced_share"] == pytest.approx(share)


def test_a_neuron_that_loses_every_word_is_displaced_not_avoided() -> None:
    before = made({0: 40, 1: 400, 2: 200}, {(1, 2): 100})
    after = made({1: 440, 2: 200}, {(1, 0): 40, (1, 2): 100})
    neurons = compare(before, after, permutations=2_000).neurons
    assert neurons["state"].to_list()[0] == "avoided"
    # Neuron 1 took 40 words and had 400: its own rate hardly grew, so it may not explain anything.
    assert neurons["confident_state"].to_list()[0] == "avoided"
    after = made({1: 900, 2: 200}, {(1, 0): 40, (1, 2): 100})
    neurons = compare(before, after, permutations=2_000).neurons
    assert neurons["confident_state"].to_list()[0] == "displaced"
    assert neurons["displaced_by"].to_list()[0] == 1


def test_a_neuron_that_vanished_is_avoided_even_if_a_word_of_it_is_behind_another() -> None:
    before = made({0: 80, 1: 400, 2: 200}, {(1, 2): 100})
    after = made({1: 900, 2: 200}, {(1, 0): 2, (1, 2): 100})
    row = compare(before, after, permutations=2_000).neurons.row(0, named=True)
    assert row["displaced_by"] == 1
    assert row["confident_state"] == "avoided"


def test_without_runner_ups_nothing_is_displaced(unchanged: Comparison) -> None:
    sides = [replace(side, runner_ups=None) for side in (unchanged.before, unchanged.after)]
    comparison = compare(*sides)
    assert comparison.neurons["displaced_by"].null_count() == len(comparison.neurons)
    assert comparison.summary["displaced"] == 0
    # The other columns do not depend on runner-ups.
    columns = [name for name in comparison.neurons.columns if "displaced" not in name]
    columns.remove("confident_state")
    assert comparison.neurons.select(columns).equals(unchanged.neurons.select(columns))
    assert len(exchanged_words(*sides, 0)) == 0


def test_of_two_neurons_at_most_one_displaces_the_other(unchanged: Comparison) -> None:
    change = np.zeros(3)
    sides = [made({0: 40, 1: 400, 2: 9}, {(1, 0): 10}), made({0: 10, 1: 430, 2: 9}, {(1, 0): 40, (0, 1): 5})]
    change[:2] = -0.02, 0.02
    assert Rivals.of(*sides, change, np.ones(3, bool)).neuron.tolist() == [NO_RIVAL] * 3
    change[1] = 0.03
    assert Rivals.of(*sides, change, np.ones(3, bool)).neuron.tolist() == [1, NO_RIVAL, NO_RIVAL]
    assert Rivals.of(*sides, change, np.zeros(3, bool)).neuron.tolist() == [NO_RIVAL] * 3


@pytest.mark.slow
def test_without_the_grown_neuron_the_test_holds_its_level() -> None:
    p_values: list[float] = []
    for seed in range(4):
        pair = synthetic_pair(
            100, corpus=TEXT, changed=0, vanished=0, appeared=0, rarer=0, displacement=GROWN, seed=seed
        )
        sides = [
            collect(model, TEXT, layers=pair.layer, name="s").preferences()
            for model in (pair.before, pair.after)
        ]
        neurons = compare(*sides, permutations=1_000).neurons
        change = (neurons["win_rate_after"] - neurons["win_rate_before"]).to_numpy()
        certain = (neurons["rate_q_value"].fill_null(1) <= 0.05).to_numpy()
        settings = SignificanceSettings(permutations=1_000)
        test = displacement_test(*sides, "mean", settings, paired=True, match_text=False)
        columns = test.of(*sides, change, certain, np.ones(100, bool))
        p_values += columns["displaced_p_value"][np.isfinite(columns["displaced_p_value"])].tolist()
    assert len(p_values) > 350
    assert 0.02 < np.mean(np.array(p_values) < 0.05) < 0.08


def made(wins: dict[int, int], behind: dict[tuple[int, int], int]) -> Preferences:
    """Preferences of three neurons and one word in 8 folds.

    Args:
        wins: neuron -> words that it wins, spread over the folds.
        behind: (winner, runner-up) -> words.
    """
    folds = np.arange(8)
    neuron = np.array(sorted(wins))
    count = np.array([[wins[n] // 8] * 8 for n in neuron.tolist()]).T.ravel()
    seconds = sorted(behind)
    words = np.array([[behind[pair] // 8 or int(behind[pair] > 0)] * 8 for pair in seconds]).T.ravel()
    fold, fold_of_second = np.repeat(folds, len(neuron)), np.repeat(folds, len(seconds))
    winner, second = (np.tile(np.array(side), 8) for side in zip(*seconds, strict=True))
    return Preferences(
        stage="s",
        layer="l",
        feature_type="token",
        selection="max-1",
        n_neurons=3,
        features=np.array(["w"], dtype=object),
        corpus_counts=np.full((8, 1), 500),
        fold=fold,
        neuron=np.tile(neuron, 8),
        feature_id=np.zeros(len(fold), np.int64),
        count=count,
        sum=count.astype(float),
        sum_sq=count.astype(float),
        max=np.ones(len(fold)),
        runner_ups=RunnerUps(
            winner,
            fold_of_second,
            second,
            np.zeros(len(words), np.int64),
            words,
            words.astype(float),
            words.astype(float),
            np.ones(len(words)),
        ),
    )
