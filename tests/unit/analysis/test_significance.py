from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.builders.preferences import Events, preferences_of, random_events, stage_of
from tests.unit.analysis.test_fold_counts import FOLDS, direct, expected, pair
from txray.analysis import compare
from txray.analysis.significance.absence_test import absence_p_values
from txray.analysis.significance.fold_counts import FoldCounts
from txray.analysis.significance.permutation import smallest_p_value
from txray.analysis.significance.rarefaction import rarefied_lengths
from txray.analysis.significance.split_half import Halves, split_in_halves
from txray.errors import PowerWarning, UnknownNameError, UsageError
from txray.preferences import Preferences


def test_distances_of_halves_are_those_of_the_formula() -> None:
    sides = pair()
    first, second = split_in_halves(FOLDS, 1, np.random.default_rng(0))
    halves = Halves.of([FoldCounts.of(*sides)], first, second, "mean")
    nothing = [0.0] * FOLDS
    for neuron in range(12):
        both = [half[:, 0].tolist() for half in (first, second)]
        p = [direct(sides, neuron, [half, nothing], "mean") for half in both]
        q = [direct(sides, neuron, [nothing, half], "mean") for half in both]
        if any(distribution is None for distribution in (*p, *q)):
            continue
        within = [expected(*pair_of_halves, "hellinger") for pair_of_halves in (p, q)]
        assert halves.noise_floor[neuron] == pytest.approx(np.mean(np.sqrt(within)), abs=1e-7)
        between = [expected(p[0], q[1], "hellinger"), expected(q[0], p[1], "hellinger")]
        assert halves.distance[neuron] == pytest.approx(np.mean(np.sqrt(between)), abs=1e-7)


def test_splits_are_halves() -> None:
    random = np.random.default_rng(0)
    for folds in (2, 5, 16):
        first, second = split_in_halves(folds, 40, random)
        assert (first + second == 1).all()
        assert (first.sum(axis=0) == folds // 2).all()


def test_rarefied_lengths_are_expected_numbers_of_features() -> None:
    preferences = preferences_of(random_events(300))
    totals = preferences.totals
    for drawn in (0, 1, 7, 10_000):
        found = rarefied_lengths(preferences, np.full(12, drawn))
        for neuron in range(12):
            counts = totals.count[totals.neuron == neuron].tolist()
            n, m = sum(counts), min(drawn, sum(counts))
            oracle = sum(1 - math.comb(n - count, m) / math.comb(n, m) for count in counts)
            assert found[neuron] == pytest.approx(oracle, abs=1e-9)


def test_rarefaction_of_two_activations_of_two_features() -> None:
    preferences = preferences_of([(0, 0, "a", 1.0), (1, 0, "b", 1.0), (0, 1, "a", 1.0)])
    assert rarefied_lengths(preferences, np.full(12, 1))[:3].tolist() == pytest.approx([1, 1, 0])


def text(
    neurons: int, words: int, seed: int, *, moved: int = 0, silent: int = 0, folds: int = 16
) -> Preferences:
    """Activations of neurons that prefer features of their own; the first `moved` prefer others, the next are silent.

    Documents have topics: words come in runs, so that words of one document do not speak for themselves alone.
    """
    random = np.random.default_rng(seed)
    taste = np.random.default_rng(99)
    base = 1 / np.arange(1, 81) ** 1.1
    order = [taste.permutation(80) for _ in range(neurons)]
    other = [taste.permutation(80) for _ in range(neurons)]
    events: Events = []
    rates = np.geomspace(1, 30, neurons)
    for _ in range(words // 50):
        fold = int(random.integers(folds))
        responding = random.choice(neurons, 10, p=rates / rates.sum())
        for neuron in responding.tolist():
            if moved <= neuron < moved + silent:
                continue
            ranks = (other if neuron < moved else order)[neuron]
            topic = random.dirichlet(20 * base / base.sum())
            events += [
                (fold, neuron, f"w{ranks[i]}", 0.5 + 0.5 * float(random.random()))
                for i in random.choice(80, 5, p=topic)
            ]
    return preferences_of(events, n_neurons=neurons, folds=folds)


QUICK: dict[str, Any] = {"permutations": 400, "splits": 4, "draws": 2}


def test_where_nothing_changed_few_p_values_are_small_and_nothing_is_discovered() -> None:
    small, discovered, squared = [], 0, []
    for seed in range(6):
        comparison = compare(text(60, 12_000, seed), text(60, 6_000, 100 + seed), permutations=0).test(
            **QUICK
        )
        tested = comparison.neurons.filter(pl.col("p_value").is_not_null())
        small += (tested["p_value"] < 0.05).to_list()
        squared += tested["signal"].drop_nulls().to_list()
        discovered += comparison.summary["changed"]
        assert comparison.summary["paired"] is False
        assert tested["hellinger"].mean() > 0.3, "the plain distance is large all the same"
    assert len(small) > 300
    assert np.mean(small) < 0.08
    assert discovered <= 2
    assert abs(np.mean(squared)) < 0.01


def test_neurons_that_changed_are_found_and_silent_ones_are_avoided_with_confidence() -> None:
    before, after = text(60, 40_000, 1), text(60, 40_000, 2, moved=20, silent=10)
    found = compare(before, after, permutations=0).test(**QUICK)
    neurons = found.neurons
    changed = set(neurons.filter(pl.col("q_value") <= 0.05)["neuron"])
    assert len(changed & set(range(20))) >= 18
    assert len(changed - set(range(20))) <= 2
    assert found.summary["changed"] == len(changed)
    avoided = set(neurons.filter(pl.col("confident_state") == "avoided")["neuron"])
    assert avoided <= set(range(20, 30))
    assert len(avoided) >= 7
    assert found.summary["confident_avoided"] == len(avoided)
    moved = neurons.filter(pl.col("neuron") < 20)
    kept = neurons.filter(pl.col("neuron") >= 30)
    assert moved["signal"].mean() > 10 * abs(kept["signal"].mean())
    inside = (pl.col("hellinger_corrected_low") <= 0) & (pl.col("hellinger_corrected_high") >= 0)
    assert kept.select(inside.mean()).item() > 0.9
    # The words that neurons prefer are the same, in another order: that is no change of the weight `mean`.
    by_mass = compare(before, after, weight="mass", permutations=0).test(**QUICK).neurons
    assert (by_mass.filter(pl.col("neuron") < 20)["hellinger_corrected_low"] > 0).mean() > 0.8


def test_a_neuron_that_won_once_is_not_avoided_knowledge() -> None:
    before = random_events(400, seed=1, folds=8)
    after = [event for event in random_events(400, seed=2, folds=8) if event[1] != 0]
    rare = [event for event in before if event[1] != 0] + [(3, 0, "w1", 0.5)]
    for events, state in ((rare, "undecided"), (before, "avoided")):
        comparison = compare(preferences_of(events, folds=8), preferences_of(after, folds=8), permutations=0)
        row = comparison.test(**{**QUICK, "permutations": 3_000}).neurons.row(0, named=True)
        assert (row["state"], row["confident_state"]) == ("avoided", state)


def test_same_documents_are_compared_fold_by_fold() -> None:
    one, two = stage_of(random_events(200)), stage_of(random_events(200, seed=5))
    assert compare(one, one, permutations=0).test(**QUICK).summary["paired"] is True
    assert compare(one, two, permutations=0).test(**QUICK).summary["paired"] is False
    digests = [
        replace(stage, manifest={**stage.manifest, "corpus": {"documents_digest": digest}})
        for stage, digest in ((one, "a"), (one, "b"))
    ]
    assert compare(*digests, permutations=0).test(**QUICK).summary["paired"] is False


def test_same_seed_same_numbers_and_relabelling_neurons_changes_nothing() -> None:
    before, after = pair()
    first, second = (compare(before, after, permutations=0).test(**QUICK).neurons for _ in range(2))
    assert first.equals(second)
    other = compare(before, after, permutations=0).test(seed=1, **QUICK).neurons
    assert not first["p_value"].equals(other["p_value"])
    assert first.columns == other.columns


@pytest.mark.parametrize("distance", ["jensen-shannon", "total-variation"])
def test_other_distances_go_through_the_same(distance: str) -> None:
    found = compare(*pair(), permutations=0).test(distance=distance, **QUICK).neurons  # type: ignore[arg-type]
    assert found["distance_matched"].drop_nulls().is_between(0, 1).all()
    assert found["p_value"].drop_nulls().is_between(0, 1).all()


def test_what_cannot_be_tested_is_told() -> None:
    events = random_events(50, folds=1)
    with pytest.raises(
        UsageError, match="collected with 1 and 1 folds; both stages need the same number"
    ) as caught:
        compare(preferences_of(events, folds=1), preferences_of(events, folds=1))
    assert "\n" not in str(caught.value)
    comparison = compare(*pair(), permutations=0)
    with pytest.raises(UnknownNameError, match="distance 'cosine'.*hellinger"):
        comparison.test(distance="cosine")  # type: ignore[arg-type]
    wrong: dict[str, Any]
    for wrong in (
        {"fdr": 0.0},
        {"fdr": 1.0},
        {"permutations": 0},
        {"draws": 0},
        {"splits": 0},
        {"seed": -1},
    ):
        with pytest.raises(UsageError, match=f"significance: {next(iter(wrong))}="):
            comparison.test(**wrong)


def test_absence_is_the_chance_of_meeting_a_tenth_of_the_rate_nowhere() -> None:
    words = np.array([100.0, 300.0, 200.0, 200.0])  # two folds of either stage
    wins = np.array(
        [[10, 30, 0, 0], [0, 0, 20, 20], [5, 5, 1, 0], [0, 0, 0, 0], [40, 0, 0, 0]], dtype=np.float64
    )
    found = absence_p_values(wins, words)
    assert found[0] == pytest.approx(np.exp(-0.1 * 40))
    assert found[1] == pytest.approx(np.exp(-0.1 * 40))
    assert np.isnan(found[2:4]).all()
    # All in one fold: expected are 10 and 30, and (30^2 / 10 + 30^2 / 30) / 1 = 120 wins count as one.
    assert found[4] == pytest.approx(np.exp(-0.1 * 40 / 120))


def test_absence_where_the_rate_is_a_tenth_is_as_rare_as_it_says() -> None:
    random = np.random.default_rng(0)
    words = np.full(32, 1_000.0)
    before = random.poisson(3.0, (4_000, 16))
    after = random.poisson(0.3, (4_000, 16))
    found = absence_p_values(np.concatenate((before, after), axis=1).astype(float), words)
    gone = np.isfinite(found)
    # 48 wins before, so that 4.8 are expected after: none at all in 0.8 % of cases.
    assert gone.mean() == pytest.approx(np.exp(-4.8), abs=0.005)
    assert np.median(found[gone]) == pytest.approx(np.exp(-4.8), rel=0.5)


def test_a_neuron_that_may_merely_be_rarer_is_undecided() -> None:
    def stage(wins: int) -> Preferences:
        events = [(i % 16, 0, f"w{i % 20}", 1.0) for i in range(wins)]
        return preferences_of([*events, *[(i % 16, 1, f"v{i % 20}", 1.0) for i in range(3_200)]], folds=16)

    for wins, state in ((16, "undecided"), (64, "avoided")):
        neurons = compare(stage(wins), stage(0), permutations=0).test(**QUICK, text_matched=False).neurons
        row = neurons.row(0, named=True)
        assert row["rate_q_value"] <= 0.05, "its rate did fall, in either case"
        assert (row["absence_p_value"] <= 0.05) == (state == "avoided")
        assert row["confident_state"] == state


def test_tests_that_cannot_find_anything_warn() -> None:
    before, after = text(20, 4_000, 1, folds=3), text(20, 4_000, 2, moved=20, folds=3)
    with pytest.warns(
        PowerWarning, match=r"no p-value can be below 0.1; collect more documents in more folds"
    ):
        found = compare(before, after, permutations=0).test(**QUICK)
    # Of 20 ways to deal six folds out, two are as extreme as what was observed.
    assert found.summary["smallest_p_value"] == pytest.approx(2 / 20)
    assert found.neurons["p_value"].min() > 0.05  # type: ignore[operator]
    with pytest.warns(PowerWarning, match="more permutations than 10"):
        compare(text(20, 4_000, 1), text(20, 4_000, 2), permutations=10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compare(text(20, 4_000, 1), text(20, 4_000, 2), permutations=100)


def test_only_folds_with_documents_count() -> None:
    words = np.zeros((2, 16), np.int64)
    words[:, :5] = 100
    assert smallest_p_value(words, paired=True, permutations=10_000) == pytest.approx(2 / 2**5)
    words[1, 0] = 0
    assert smallest_p_value(words, paired=True, permutations=10_000) == pytest.approx(2 / 2**4)
    words[:, :] = 100
    assert smallest_p_value(words, paired=False, permutations=999) == pytest.approx(1 / 1000)


def test_more_draws_leave_less_to_the_seed() -> None:
    # One stage has twenty times the words, so that most of it is thinned away.
    comparison = compare(text(30, 60_000, 1), text(30, 3_000, 2), permutations=0)
    spread = []
    for draws in (1, 16):
        p_values = [
            comparison.test(**{**QUICK, "draws": draws, "seed": seed}, statistic="distance")
            .neurons["p_value"]
            .to_numpy()
            for seed in range(4)
        ]
        spread.append(np.nanmean(np.nanstd(p_values, axis=0)))
    assert spread[1] < 0.7 * spread[0]
