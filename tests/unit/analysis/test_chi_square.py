"""The chi-square given occurrences is that of the formula, and sees what neurons select, not how often words occur."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.builders.preferences import preferences_of, random_events
from txray import compare
from txray.analysis.significance.chi_square import chi_square
from txray.analysis.significance.fold_counts import FoldCounts
from txray.analysis.significance.permutation import assignments, observed
from txray.errors import UnknownNameError
from txray.preferences import Preferences

FOLDS = 4


def pair() -> tuple[Preferences, Preferences]:
    return preferences_of(random_events(900, seed=1)), preferences_of(random_events(500, seed=2))


def dense(sides: Sequence[Preferences], neuron: int) -> tuple[np.ndarray, ...]:
    """(features, 2 * folds): wins, sums and occurrences; and (features,) sums of squares."""
    names = sorted({*sides[0].features.tolist(), *sides[1].features.tolist()})
    wins, total, text = (np.zeros((len(names), 2 * FOLDS)) for _ in range(3))
    squared = np.zeros(len(names))
    for offset, side in zip((0, FOLDS), sides, strict=True):
        position = [names.index(name) for name in side.features.tolist()]
        text[position, offset : offset + FOLDS] = side.corpus_counts.T
        for row in np.flatnonzero(side.neuron == neuron):
            cell = position[side.feature_id[row]], offset + side.fold[row]
            wins[cell], total[cell] = side.count[row], side.sum[row]
            squared[cell[0]] += side.sum_sq[row]
    return wins, total, text, squared


def reference(sides: Sequence[Preferences], neuron: int, left: np.ndarray) -> float:
    wins, total, text, squared = dense(sides, neuron)
    used = wins.sum(axis=1) > 0
    wins, total, text, squared = wins[used], total[used], text[used], squared[used]
    of_side = [slice(0, FOLDS), slice(FOLDS, 2 * FOLDS)]
    # The factors of both sides: rates of both predict the wins of each.
    factor = np.ones(2)
    for _ in range(1_000):
        scaled = sum(factor[side] * text[:, of_side[side]].sum(axis=1) for side in (0, 1))
        rate = wins.sum(axis=1) / scaled
        factor = np.array([wins[:, cut].sum() / (rate @ text[:, cut].sum(axis=1)) for cut in of_side])
        factor /= factor.mean()
    scaled_text = text * np.repeat(factor, FOLDS)
    share = scaled_text @ left / scaled_text.sum(axis=1)
    spread = share * (1 - share)
    inside = spread > 1e-9
    values = []
    for matrix, variance in ((wins, wins.sum(axis=1)), (total, squared)):
        whole = matrix.sum(axis=1)
        excess = matrix @ left - whole * share
        excess = excess - whole * spread * excess.sum() / (whole * spread).sum()
        values.append((excess[inside] ** 2 / variance[inside] - spread[inside]).sum())
    return max(values) / np.sqrt((spread**2).sum())


def test_it_is_that_of_the_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("txray.analysis.significance.chi_square.CELLS", 2_000)
    sides = pair()
    left = assignments(FOLDS, 6, False, np.random.default_rng(0))
    values = chi_square(FoldCounts.of(*sides), left)
    for neuron in range(12):
        for column in range(6):
            assert values[neuron, column] == pytest.approx(
                reference(sides, neuron, left[:, column]), abs=1e-6
            )


def test_exchanging_the_sides_changes_nothing() -> None:
    folds = FoldCounts.of(*pair())
    left = assignments(FOLDS, 20, False, np.random.default_rng(0))
    np.testing.assert_allclose(chi_square(folds, left), chi_square(folds, 1 - left), atol=1e-9)


def test_a_subset_of_neurons_has_the_same_values() -> None:
    folds = FoldCounts.of(*pair())
    mask = np.arange(12) % 3 == 0
    left = assignments(FOLDS, 5, True, np.random.default_rng(0))
    np.testing.assert_allclose(chi_square(folds.subset(mask), left)[mask], chi_square(folds, left)[mask])


def test_a_neuron_without_activations_on_one_side_has_none() -> None:
    before = preferences_of(random_events(300, n_neurons=12, seed=1))
    after = preferences_of(random_events(300, n_neurons=6, seed=2))
    values = chi_square(FoldCounts.of(before, after), observed(FOLDS))[:, 0]
    assert np.isfinite(values[:6]).all()
    assert np.isnan(values[6:]).all()


def test_strengths_that_change_where_the_numbers_of_wins_stay_are_seen() -> None:
    """Neuron 0 responds twice as strongly to half of its words afterwards; the others do not change."""
    events = random_events(4_000, n_neurons=4, n_features=12, folds=16, seed=5)
    before = preferences_of(events, n_neurons=4, folds=16)
    stronger = [
        (fold, neuron, word, value * (4 if neuron == 0 and int(word[1:]) % 2 else 1))
        for fold, neuron, word, value in events
    ]
    neurons = compare(before, preferences_of(stronger, n_neurons=4, folds=16), permutations=500).neurons
    assert neurons["p_value"][0] < 0.01
    assert (neurons["p_value"][1:] == 1).all()
    # Twice as strongly to all words is no change of preferences.
    everywhere = replace(before, sum=2 * before.sum, sum_sq=4 * before.sum_sq, max=2 * before.max)
    assert (compare(before, everywhere, permutations=200).neurons["p_value"] > 0.05).all()


def test_an_unknown_statistic_is_named() -> None:
    with pytest.raises(UnknownNameError, match="chi-square"):
        compare(*pair(), permutations=10, statistic="chisquare")  # type: ignore[arg-type]


def test_the_statistic_is_in_the_summary_and_the_distance_stays_available() -> None:
    sides = pair()
    tested = {name: compare(*sides, permutations=200, statistic=name) for name in ("chi-square", "distance")}
    assert [comparison.summary["statistic"] for comparison in tested.values()] == ["chi-square", "distance"]
    columns = ("distance_matched", "distance_null", "signal", "hellinger", "hellinger_corrected")
    for column in columns:
        one, other = (comparison.neurons[column] for comparison in tested.values())
        assert one.equals(other), column
    assert not tested["chi-square"].neurons["z_score"].equals(tested["distance"].neurons["z_score"])
