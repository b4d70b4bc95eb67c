from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.builders.preferences import preferences_of, random_events, stage_of
from txray.analysis import compare
from txray.analysis.mass_inequality import gini, share_of_top
from txray.errors import ShapeError, UnknownNameError

BEFORE = [(0, 0, "river", 0.4), (0, 0, "bank", 0.4), (0, 1, "the", 0.3), (0, 1, "the", 0.1)]
AFTER = [(0, 0, "river", 0.9), (1, 2, "film", 0.5)]


def test_states_lengths_and_masses_by_hand() -> None:
    comparison = compare(
        preferences_of(BEFORE, n_neurons=4), preferences_of(AFTER, n_neurons=4), permutations=0
    )
    neurons = comparison.neurons
    assert neurons["neuron"].to_list() == [0, 1, 2, 3]
    assert neurons["state"].to_list() == ["shared", "avoided", "gained", "unpreferred"]
    assert neurons["length_before"].to_list() == [2, 1, 0, 0]
    assert neurons["length_after"].to_list() == [1, 0, 1, 0]
    assert neurons["hellinger_length"].to_list() == [2, 1, 1, 0]
    assert neurons["wins_before"].to_list() == [2, 2, 0, 0]
    np.testing.assert_allclose(neurons["mass_before"], [0.8, 0.4, 0, 0])
    # p = (1/2, 1/2), q = (0, 1): H = sqrt(1 - sqrt(1/2))
    assert neurons["hellinger"].to_list() == [pytest.approx(np.sqrt(1 - np.sqrt(0.5))), None, None, None]


def test_summary_counts_states_and_averages_shared_neurons() -> None:
    summary = compare(
        preferences_of(BEFORE, n_neurons=4), preferences_of(AFTER, n_neurons=4), permutations=0
    ).summary
    assert [summary[state] for state in ("shared", "avoided", "gained", "unpreferred")] == [1, 1, 1, 1]
    assert summary["length_change_shared"] == pytest.approx(-0.5)
    assert summary["length_change"] == pytest.approx(2 / 3 - 1)
    assert summary["mean_length_shared_before"] == 2
    assert summary["mass_after"] == pytest.approx(1.4)


def test_weight_changes_the_distance() -> None:
    before = preferences_of([(0, 0, "a", 1.0), (0, 0, "a", 1.0), (0, 0, "b", 1.0)], n_neurons=1)
    after = preferences_of([(0, 0, "a", 1.0), (0, 0, "b", 1.0)], n_neurons=1)
    assert compare(before, after, permutations=0).neurons["hellinger"].item() == 0
    assert compare(before, after, weight="count", permutations=0).neurons["hellinger"].item() > 0.1


def test_nothing_shared_gives_nulls_not_zeros() -> None:
    comparison = compare(
        preferences_of(BEFORE[:1], n_neurons=2), preferences_of(BEFORE[2:], n_neurons=2), permutations=0
    )
    assert comparison.summary["shared"] == 0
    assert comparison.summary["mean_hellinger"] is None
    assert comparison.summary["length_change_shared"] is None
    json.dumps(comparison.summary, allow_nan=False)


def test_stages_and_their_preferences_compare_alike() -> None:
    before, after = stage_of(random_events(300, seed=1)), stage_of(random_events(300, seed=2))
    assert compare(before, after, permutations=0).neurons.equals(
        compare(before.preferences(), after.preferences(), permutations=0).neurons
    )


def test_different_layers_kinds_and_weights_are_refused() -> None:
    preferences = preferences_of(BEFORE, n_neurons=4)
    with pytest.raises(ShapeError, match="has 5 neurons, stage 's'.*has 4"):
        compare(preferences, preferences_of(AFTER, n_neurons=5), permutations=0)
    with pytest.raises(ShapeError, match="'token'.*'pos'; compare the same feature type"):
        compare(preferences, replace(preferences, feature_type="pos"), permutations=0)
    with pytest.raises(ShapeError, match="selection 'max-1'.*'all'; collect both in the same way"):
        compare(preferences, replace(preferences, selection="all"), permutations=0)
    with pytest.raises(UnknownNameError, match="weight 'sum'"):
        compare(preferences, preferences, weight="sum", permutations=0)  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="feature type of stage 's' 'pos'"):
        compare(stage_of(BEFORE), stage_of(AFTER), feature_type="pos", permutations=0)


def test_saved_comparison_can_be_read_with_any_tool(tmp_path: Path) -> None:
    comparison = compare(
        stage_of(random_events(300, seed=1)), stage_of(random_events(300, seed=2)), permutations=0
    )
    folder = comparison.save(tmp_path / "c")
    assert sorted(file.name for file in folder.iterdir()) == [
        "after",
        "before",
        "neurons.csv",
        "neurons.parquet",
        "result.json",
        "summary.json",
    ]
    assert pl.read_parquet(folder / "neurons.parquet").equals(comparison.neurons)
    table = pl.read_csv(folder / "neurons.csv")
    np.testing.assert_array_equal(table["hellinger"], comparison.neurons["hellinger"])
    assert json.loads((folder / "summary.json").read_text()) == dict(comparison.summary)


def test_gini_of_known_spreads() -> None:
    assert gini(np.ones(10)) == pytest.approx(0)
    assert gini(np.array([0, 0, 0, 1.0])) == pytest.approx(0.75)
    rng = np.random.default_rng(0)
    mass = rng.random(50)
    pairs = np.abs(mass[:, None] - mass[None, :]).sum()
    assert gini(mass) == pytest.approx(pairs / (2 * 50 * 50 * mass.mean()))
    assert np.isnan(gini(np.zeros(3)))


def test_share_of_the_largest() -> None:
    assert share_of_top(np.array([1.0, 5, 2, 2]), 2) == pytest.approx(0.7)
    assert np.isnan(share_of_top(np.zeros(3), 1))
