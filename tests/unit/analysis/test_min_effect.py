"""Tests of "changed by at least d": against the intervals, calibrated where the change is just d; and what they say."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from benchmarks.evidence.effects import called
from benchmarks.evidence.sizes import CHANGES, ChangedNeuron, stage

import txray
from tests.builders.stages import stage_of, vocabulary
from txray import Comparison, Preferences, compare
from txray.analysis.effect_sizes import effect_size
from txray.analysis.neuron_sentence import neuron_sentence
from txray.analysis.power import detectable_distance, detectable_distances
from txray.errors import DocumentLengthWarning, UsageError


def moved(truth: float, wins: int = 200, neurons: int = 40, seed: int = 0) -> tuple[Preferences, Preferences]:
    """Two stages whose neurons all moved by about the same distance."""
    random = np.random.default_rng([seed, wins, round(100 * truth)])
    changed = [ChangedNeuron(CHANGES[0], truth, random) for _ in range(neurons)]
    before, after = (stage(changed, side, [wins] * neurons, random) for side in ("before", "after"))
    return before, after


def comparison_of(sides: tuple[Preferences, Preferences], **options: float) -> Comparison:
    return compare(*sides, permutations=300, **options)  # type: ignore[arg-type]


def test_the_test_is_the_interval_turned_round() -> None:
    sizes = effect_size(*moved(0.4), draws=2)
    for limit in (0.1, 0.3, 0.5):
        p_value = sizes.p_values(limit)
        overlapping = sizes.squared < 1
        assert ((p_value < 0.025) == (sizes.low > limit))[overlapping].all()
        assert (p_value < 0.025).sum() + (p_value > 0.025).sum() > 0
    # Nothing in common: the probability that no win falls into what may be in common.
    apart = effect_size(*moved(1.0, wins=20), draws=2)
    rows = apart.squared == 1
    assert rows.any()
    assert (apart.p_values(0.9)[rows] >= 0.81 ** apart.wins[rows] - 1e-12).all()


@pytest.mark.parametrize(("limit", "wins"), [(0.2, 100), (0.5, 300)])
def test_a_change_of_just_the_minimum_is_rarely_called_larger(limit: float, wins: int) -> None:
    p_value = np.concatenate([called(limit, None, wins, seed)[0] for seed in (11, 12)])
    known = p_value[np.isfinite(p_value)]
    assert len(known) > 40
    assert (known < 0.05).mean() <= 0.05
    # A change that is larger is found.
    assert np.nanmean(called(limit + 0.4, limit, wins, 13)[1] <= 0.05) > 0.3


def test_a_larger_minimum_calls_fewer_and_never_others() -> None:
    sides = moved(0.5)
    calls: list[set[int]] = []
    for limit in (0.0, 0.2, 0.4, 0.8):
        rows = comparison_of(sides, min_effect=limit).neurons.filter(pl.col("q_value") <= 0.05)
        calls.append(set(rows["neuron"].to_list()))
    assert all(larger <= smaller for smaller, larger in itertools.pairwise(calls))
    assert len(calls[0]) > len(calls[2]) > len(calls[3])


def test_both_tests_must_agree() -> None:
    sides = moved(0.5)
    plain, least = comparison_of(sides).neurons, comparison_of(sides, min_effect=0.3).neurons
    known = least["q_value"].is_not_null()
    assert (least["q_value"] >= plain["q_value"]).filter(known).all()
    assert (least["p_value"] >= plain["p_value"]).filter(known).all()
    assert least.select("hellinger_corrected", "z_score").equals(
        plain.select("hellinger_corrected", "z_score")
    )
    assert plain["min_effect"].unique().to_list() == [0.0]


def test_every_sentence_says_at_least() -> None:
    comparison = comparison_of(moved(0.5), min_effect=0.25)
    row = comparison.neurons.with_columns(significant=pl.lit(value=True)).row(0, named=True)
    for text in (
        repr(comparison),
        comparison._repr_html_(),
        comparison.findings.headline,
        neuron_sentence(row, "token", ("a", "b"), 0.05),
    ):
        assert "at least 0.25" in text
    assert comparison.summary["min_effect"] == 0.25


def test_the_detectable_distance_of_each_neuron_follows_from_its_wins() -> None:
    before, after = moved(0.3, wins=60)
    rows = comparison_of((before, after)).neurons
    wins = np.minimum(before.wins(), after.wins())
    # Equal up to what the matching of texts takes away, which are about half of the wins of either side.
    assert rows["detectable"].is_not_null().any()
    assert (rows["detectable"].drop_nulls().to_numpy() > 4 / np.sqrt(wins.max())).all()
    expected = [detectable_distance(number, 16) for number in (5, 50, 500)]
    given = detectable_distances(np.array([5.0, 50.0, 500.0]), 16)
    assert [None if np.isnan(value) else value for value in given] == pytest.approx(expected)
    assert np.isnan(detectable_distances(np.array([0.0, 500.0]), 3)).all()
    assert (detectable_distances(np.array([500.0]), 16, 0.3) > given[2]).all()


def test_a_neuron_without_a_change_says_what_would_have_been_missed() -> None:
    row = comparison_of(moved(0.0)).neurons.with_columns(significant=pl.lit(value=False)).row(3, named=True)
    text = neuron_sentence({**row, "detectable": 0.45}, "token", ("a", "b"), 0.05)
    assert "no change found (changes below 0.45 would mostly have been missed)" in text
    assert "even a complete change" in neuron_sentence({**row, "detectable": None}, "token", ("a", "b"), 0.05)


@pytest.mark.parametrize("min_effect", ["a", None, -0.1, 1.0, 7.0, float("nan")])
def test_a_minimum_that_is_no_distance_is_refused(min_effect: float) -> None:
    with pytest.raises(UsageError, match="min_effect"):
        comparison_of(moved(0.0, wins=20, neurons=3), min_effect=min_effect)


def test_a_minimum_needs_tests() -> None:
    with pytest.raises(UsageError, match="permutations=0"):
        compare(*moved(0.0, wins=20, neurons=3), permutations=0, min_effect=0.2)


@pytest.mark.parametrize(("documents", "warned"), [(40, False), (30, False), (10, True), (400, True)])
def test_documents_of_other_lengths_are_warned_of(documents: int, warned: bool) -> None:
    words = vocabulary(60)
    before, after = (stage_of(name, words, seed=seed) for name, seed in (("a", 1), ("b", 2)))
    sides = [
        replace(side, manifest={**side.manifest, "corpus": {**side.manifest["corpus"], "documents": number}})
        for side, number in ((before, 40), (after, documents))
    ]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        comparison = compare(*sides, permutations=50)
        compare(*sides, permutations=0)
        compare(*sides, permutations=50, statistic="distance")
    assert comparison.summary["statistic"] == ("distance" if warned else "chi-square")
    messages = [str(warning.message) for warning in caught if warning.category is DocumentLengthWarning]
    assert len(messages) == warned
    chosen = compare(*sides, permutations=50, statistic="chi-square")
    assert chosen.summary["statistic"] == "chi-square"
    if warned:
        distances = compare(*sides, permutations=50, statistic="distance")
        assert comparison.neurons["p_value"].equals(distances.neurons["p_value"])
        assert not comparison.neurons["p_value"].equals(chosen.neurons["p_value"])
        assert f"50 and {2_000 / documents:,.0f} words" in messages[0]


def test_a_timeline_tells_size_and_power_of_every_step() -> None:
    words = vocabulary(60)
    stages = [stage_of(f"s{seed}", words, seed=seed) for seed in range(3)]
    timeline = txray.timeline(stages, permutations=60, min_effect=0.1)
    assert timeline.min_effect == 0.1
    for row in timeline.changes.filter(pl.col("reference") == "previous").iter_rows(named=True):
        (step,) = [s for s in timeline.steps["rnn"] if s.after.stage == row["after"]]
        for name in ("median_corrected", "median_corrected_changed", "median_detectable", "min_effect"):
            assert row[name] == step.summary[name]
    assert "changed by at least 0.1" in timeline._repr_html_()
