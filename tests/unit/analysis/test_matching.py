from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders.preferences import preferences_of, random_events, stage_of
from tests.unit.analysis.test_significance import text
from txray import collect, demo_corpus, synthetic_pair
from txray.analysis import compare
from txray.analysis.matching.chance import best_of_many
from txray.analysis.matching.match import match
from txray.errors import ShapeError, UsageError
from txray.preferences import Preferences


def renamed(preferences: Preferences, number: np.ndarray, neurons: int) -> Preferences:
    """The same neurons under other numbers, as a model from another seed would have them."""
    events = [
        (fold, int(number[neuron]), preferences.features[feature], total / count)
        for fold, neuron, feature, count, total in zip(
            preferences.fold,
            preferences.neuron,
            preferences.feature_id,
            preferences.count,
            preferences.sum,
            strict=True,
        )
        for _ in range(count)
    ]
    return preferences_of(events, "other", n_neurons=neurons, folds=preferences.folds)


def test_a_planted_permutation_is_recovered_across_sizes() -> None:
    before, again = text(60, 60_000, 1), text(60, 60_000, 2)
    number = np.random.default_rng(0).permutation(90)[:60]
    found = match(before, renamed(again, number, 90), weight="mass")
    matched = found.pairs.filter(found.pairs["state"] == "matched")
    right = (number[matched["before"].to_numpy()] == matched["after"].to_numpy()).mean()
    assert right >= 0.99
    assert found.matched_share >= 0.9
    assert matched.filter(matched["mutual"]).height >= 0.95 * matched.height
    assert found.curve()["share"][60] > 0.8 > found.curve()["null_share"][60]


def test_unrelated_neurons_match_no_more_often_than_chance() -> None:
    before = text(60, 60_000, 1)
    shuffled = np.random.default_rng(5)
    names = {
        name: f"w{number}" for name, number in zip(before.features, shuffled.permutation(80), strict=False)
    }
    unrelated = preferences_of(
        [
            (int(f), int(n), names[before.features[k]], 0.5)
            for f, n, k, c in zip(before.fold, before.neuron, before.feature_id, before.count, strict=True)
            for _ in range(c)
        ],
        n_neurons=60,
        folds=16,
    )
    assert match(before, unrelated, weight="mass").matched_share <= 0.05


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 100_000))
def test_no_other_assignment_has_a_larger_sum(seed: int) -> None:
    before, after = (
        preferences_of(random_events(60, n_neurons=4, n_features=9, seed=seed + side), n_neurons=4)
        for side in (0, 1)
    )
    found = match(before, after, seed=1, false_match_rate=0.99, min_wins=1)
    p, q = before.distributions(), after.distributions()
    overlap = np.zeros((4, 4))
    for i in range(4):
        for j in range(4):
            left, right = (
                dict(zip(d.features[d.matrix[[k]].indices], d.matrix[[k]].data, strict=True))
                for d, k in ((p, i), (q, j))
            )
            overlap[i, j] = sum(np.sqrt(left[name] * right[name]) for name in left.keys() & right.keys())
    best = max(sum(overlap[i, j] for i, j in enumerate(order)) for order in permutations(range(4)))
    assert found._assigned.sum() == pytest.approx(best, abs=1e-9)
    for state, i, j, affinity, chance, p_value, q_value, mutual in found.pairs.iter_rows():
        if state == "matched":
            assert affinity == pytest.approx(overlap[i, j])
            assert 0 < p_value <= q_value <= 0.99
            assert 0 <= chance <= 1
            assert mutual == (overlap[i].argmax() == j and overlap[:, j].argmax() == i)
    sides = [found.pairs[side].drop_nulls().to_list() for side in ("before", "after")]
    assert [sorted(side) for side in sides] == [
        np.flatnonzero(preferences.lengths()).tolist() for preferences in (before, after)
    ]


def test_the_comparison_goes_through_the_matching() -> None:
    before, again = text(20, 20_000, 1), text(20, 20_000, 2)
    number = np.arange(20)[::-1]
    other = renamed(again, number, 20)
    found = match(before, replace(other, layer="elsewhere", selection="max-2"), weight="mass")
    through = found.comparison().neurons
    direct = compare(before, again, weight="mass", permutations=0).neurons["hellinger"].to_numpy()
    assert through.columns[:3] == ["match_state", "neuron_before", "neuron_after"]
    states = {"matched": "shared", "unmatched-before": "avoided", "unmatched-after": "gained"}
    matched = 0
    for row in through.iter_rows(named=True):
        assert row["state"] == states[row["match_state"]]
        if row["match_state"] == "matched":
            assert row["neuron_after"] == number[row["neuron_before"]]
            assert row["hellinger"] == pytest.approx(direct[row["neuron_before"]], abs=1e-9)
            matched += 1
    assert matched >= 15
    assert found.comparison().before.n_neurons == len(found.pairs)


def test_the_curve_is_the_share_of_pairs_within_a_distance() -> None:
    before = text(20, 20_000, 1)
    found = match(before, text(20, 20_000, 2), weight="mass")
    assigned = found.pairs.filter(found.pairs["state"] != "unmatched-after")
    distances = np.sqrt(1 - assigned["affinity"].to_numpy())
    curve = found.curve(11)
    expected = [(distances <= limit + 1e-9).mean() for limit in curve["distance"]]
    assert curve["share"].to_list() == pytest.approx(expected)
    assert 0 < curve["share"][5] <= 1
    assert curve["share"][-1] == curve["null_share"][-1] == 1
    itself = match(before, before, weight="mass")
    assert itself.curve()["share"][0] == 1
    assert (itself.pairs["before"] == itself.pairs["after"]).all()


def test_what_cannot_be_matched_is_told() -> None:
    some, nothing = preferences_of(random_events(50)), preferences_of([])
    empty = match(some, nothing)
    assert empty.matched_share == 0
    assert set(match(some, nothing, min_wins=1).pairs["state"]) == {"unmatched-before"}
    assert "0%" in repr(empty)
    assert empty.comparison().summary["avoided"] == len(empty.pairs)
    rare = match(some, some, min_wins=10_000).comparison()
    assert len(rare.neurons) == rare.before.n_neurons == 0
    assert rare.test(permutations=10).summary["tested"] == 0
    with pytest.raises(ShapeError, match="'pos'; match the same feature type"):
        match(stage_of(random_events(50)), replace(some, feature_type="pos"))
    for wrong in ({"false_match_rate": 0.0}, {"shuffles": 19}, {"seed": -1}, {"min_wins": 0}):
        (setting,) = wrong.items()
        with pytest.raises(UsageError, match="match: {}={}; ".format(*setting)):
            match(some, some, **wrong)  # type: ignore[arg-type]


def test_p_values_are_shares_of_standardized_chance_scores_of_similar_neurons() -> None:
    random = np.random.default_rng(0)
    length = np.repeat([2, 40], 60)
    mean, scale = random.uniform(0.1, 0.5, 120), random.uniform(0.01, 0.05, 120)
    chance = mean + scale * random.standard_normal((30, 120))
    score = mean + scale * random.uniform(0, 4, 120)
    p_value = best_of_many(score, chance, length)
    standardized = np.empty((30, 120))
    for draw, neuron in np.ndindex(30, 120):
        rest = np.delete(chance[:, neuron], draw)
        standardized[draw, neuron] = (chance[draw, neuron] - rest.mean()) / rest.std()
    for neuron in range(120):
        null = standardized[:, length == length[neuron]].ravel()
        z = (score[neuron] - chance[:, neuron].mean()) / chance[:, neuron].std()
        pooled = (1 + (null >= z).sum()) / (1 + len(null))
        own = np.mean(chance[:, neuron] >= score[neuron])
        assert p_value[neuron] == pytest.approx(max(pooled, own))
    # Chance reaches 1 in 3 of 30 draws: whatever the mean and standard deviation are, the p-value is not smaller.
    chance[:, 0] = 0.0
    chance[:3, 0] = 1.0
    assert best_of_many(np.where(np.arange(120) == 0, 1.0, score), chance, length)[0] >= 0.1


def test_p_values_of_chance_are_uniform_for_neurons_of_all_kinds() -> None:
    random = np.random.default_rng(0)
    shares = []
    for _ in range(20):
        scale = np.exp(random.uniform(-4, -2, 200))
        draws = 0.3 + scale * random.gumbel(size=(51, 200))
        shares.append(
            [np.mean(best_of_many(draws[0], draws[1:], np.ones(200, int)) <= p) for p in (0.01, 0.05, 0.2)]
        )
    assert np.mean(shares, axis=0) == pytest.approx([0.01, 0.05, 0.2], rel=0.25)


@pytest.mark.parametrize("lengths", [(3, 300), (1, 60)])
def test_false_matches_stay_below_their_rate_where_half_of_the_neurons_have_no_counterpart(
    lengths: tuple[int, int],
) -> None:
    corpus = demo_corpus("encyclopedia", words=60_000)
    pair = synthetic_pair(
        200,
        corpus=corpus,
        lengths=lengths,
        changed=0.5,
        vanished=0,
        appeared=0,
        rarer=0,
        moved=0.5,
        effect=1.0,
    )
    before, after = (
        collect(model, corpus, layers=[pair.layer], name="synthetic") for model in (pair.before, pair.after)
    )
    pairs = (
        match(before, after)
        .pairs.filter(pl.col("state") == "matched")
        .join(pair.truth, left_on="before", right_on="neuron")
    )
    right = (pairs["group"] == "moved") & (pairs["after"] == pairs["neuron_after"])
    wins = np.minimum(
        before.preferences().wins(), after.preferences().wins()[pair.truth["neuron_after"].to_numpy()]
    )
    possible = ((pair.truth["group"] == "moved").to_numpy() & (wins >= 20)).sum()
    assert right.sum() >= 0.7 * possible > 20
    assert (~right).sum() <= 0.05 * len(pairs) + 1


def test_short_preferences_do_not_keep_long_ones_from_matching() -> None:
    long = text(60, 60_000, 1)
    events = [
        (int(f), int(n), long.features[k], float(t / c))
        for f, n, k, c, t in zip(long.fold, long.neuron, long.feature_id, long.count, long.sum, strict=True)
        for _ in range(c)
    ]
    short = [(number % 16, 60 + number % 90, f"x{number % 90}", 0.5) for number in range(3_600)]
    before = preferences_of([*events, *short], n_neurons=150, folds=16)
    again = text(60, 60_000, 2)
    after = preferences_of(
        [
            *(
                (int(f), int(n), again.features[k], float(t / c))
                for f, n, k, c, t in zip(
                    again.fold, again.neuron, again.feature_id, again.count, again.sum, strict=True
                )
                for _ in range(c)
            ),
            *short,
        ],
        n_neurons=150,
        folds=16,
    )
    found = match(before, after, weight="mass")
    matched = found.pairs.filter(found.pairs["state"] == "matched")
    long_ones = matched.filter(matched["before"] < 60)
    # One word each: chance makes pairs of affinity 1, which say nothing.
    assert matched.height == long_ones.height >= 54
    assert (long_ones["before"] == long_ones["after"]).all()
    assert found.pairs.filter(found.pairs["before"] >= 60)["p_value"].min() > 0.05


def test_neurons_that_won_once_do_not_count() -> None:
    rare = [(0, 20 + number, f"w{number % 5}", 1.0) for number in range(40)]
    before = preferences_of([*random_events(4_000, n_neurons=20, folds=4), *rare], n_neurons=60)
    found = match(before, before)
    assert found.matched_share == 1
    assert sorted(found.pairs["before"].to_list()) == list(range(20))
