from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from tests.builders.preferences import preferences_of, random_events
from txray.analysis import compare
from txray.analysis.distances import Distance
from txray.analysis.significance.fold_counts import FoldCounts
from txray.analysis.significance.permutation import observed
from txray.preferences import Preferences
from txray.preferences.preferences import WEIGHTS, Weight

FOLDS = 4


def pair(n: int = 400) -> tuple[Preferences, Preferences]:
    """Two stages that share some features, and of which each has neurons of its own."""
    before = [event for event in random_events(n, seed=1) if event[1] != 3]
    after = [(f, n, w.replace("w1", "v1"), a) for f, n, w, a in random_events(2 * n, seed=2) if n != 5]
    return preferences_of(before), preferences_of(after)


def divergence(
    folds: FoldCounts,
    left: np.ndarray,
    right: np.ndarray,
    weight: Weight,
    distance: Distance = "hellinger",
) -> np.ndarray:
    return np.asarray(folds.divergences((left, right), ((0, 1),), weight, distance)[0])


def direct(
    sides: tuple[Preferences, Preferences], neuron: int, folds: list[list[float]], weight: str
) -> dict[str, float] | None:
    """Distribution of one neuron by plain loops: folds[side][fold] says how often a fold counts."""
    count: dict[str, float] = {}
    total: dict[str, float] = {}
    for side, preferences in enumerate(sides):
        columns = zip(
            preferences.fold, preferences.neuron, preferences.feature_id, preferences.count, preferences.sum,
            strict=True,
        )  # fmt: skip
        for fold, owner, feature, n, activation in columns:
            times = folds[side][fold]
            if owner == neuron and times:
                name = preferences.features[feature]
                count[name] = count.get(name, 0) + times * n
                total[name] = total.get(name, 0) + times * activation
    weights = {
        "mean": {name: total[name] / count[name] for name in count},
        "mass": total,
        "count": count,
    }[weight]
    size = sum(weights.values())
    return {name: value / size for name, value in weights.items()} if size else None


def expected(p: dict[str, float] | None, q: dict[str, float] | None, distance: Distance) -> float:
    if p is None or q is None:
        return float("nan")
    names = sorted({*p, *q})
    left, right = (np.array([each.get(name, 0.0) for name in names]) for each in (p, q))
    return {
        "hellinger": ((np.sqrt(left) - np.sqrt(right)) ** 2).sum() / 2,
        "jensen-shannon": jensenshannon(left, right, base=2) ** 2,
        "total-variation": max(left[left > right].sum() - right[left > right].sum(), 0.0),
    }[distance]


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("distance", ["hellinger", "jensen-shannon", "total-variation"])
def test_any_choice_of_folds_gives_what_plain_loops_give(distance: Distance, weight: Weight) -> None:
    sides = pair()
    random = np.random.default_rng(0)
    left, right = (random.integers(0, 3, (2 * FOLDS, 5)).astype(float) for _ in range(2))
    left[:, 4] = 0
    found = divergence(FoldCounts.of(*sides), left, right, weight, distance)
    chosen = np.minimum(left, 1)
    dealt = FoldCounts.of(*sides).two_way_divergence(chosen, weight, distance)
    apart = divergence(FoldCounts.of(*sides), chosen, 1 - chosen, weight, distance)
    np.testing.assert_allclose(dealt, apart, atol=1e-13)
    for choice in range(5):
        for neuron in range(12):
            p, q = (
                direct(sides, neuron, [side[:FOLDS, choice].tolist(), side[FOLDS:, choice].tolist()], weight)
                for side in (left, right)
            )
            assert found[neuron, choice] == pytest.approx(expected(p, q, distance), abs=1e-9, nan_ok=True)
    assert np.isnan(found[:, 4]).all()


@pytest.mark.parametrize("weight", WEIGHTS)
def test_the_folds_as_they_are_give_the_distance_of_the_comparison(weight: Weight) -> None:
    before, after = pair()
    whole = observed(FOLDS)
    squared = divergence(FoldCounts.of(before, after), whole, 1 - whole, weight)[:, 0]
    plain = compare(before, after, weight=weight, permutations=0).neurons["hellinger"].to_numpy()
    np.testing.assert_allclose(np.sqrt(squared), plain, atol=1e-7)


def test_matched_stages_have_equally_many_activations() -> None:
    folds = FoldCounts.of(*pair())
    matched = folds.downsampled(np.random.default_rng(0))
    wins, kept = folds.wins(), matched.wins()
    fewer = np.minimum(wins[:, :FOLDS].sum(axis=1), wins[:, FOLDS:].sum(axis=1))
    np.testing.assert_array_equal(kept[:, :FOLDS].sum(axis=1), fewer)
    np.testing.assert_array_equal(kept[:, FOLDS:].sum(axis=1), fewer)
    assert (kept <= wins).all()
    # The mean activation of what is kept stays that of the cell.
    counts, sums = (np.asarray(each.todense()) for each in (folds.count, folds.sum))
    left, kept_sums = (np.asarray(each.todense()) for each in (matched.count, matched.sum))
    here = left > 0
    assert matched.count.nnz == here.sum() < folds.count.nnz, "what nothing is left of is not carried along"
    np.testing.assert_allclose(kept_sums[here] / left[here], sums[here] / counts[here])
    assert (kept_sums[~here] == 0).all()


def test_some_neurons_are_as_they_are_among_all() -> None:
    folds = FoldCounts.of(*pair())
    chosen = np.arange(12) % 3 == 1
    whole = observed(FOLDS)
    every, some = (divergence(each, whole, 1 - whole, "mean")[:, 0] for each in (folds, folds.subset(chosen)))
    np.testing.assert_array_equal(some[chosen], every[chosen])
    assert np.isnan(some[~chosen]).all()


def test_stages_without_anything_are_no_error() -> None:
    nothing: Any = preferences_of([])
    folds = FoldCounts.of(nothing, nothing)
    assert np.isnan(divergence(folds, observed(FOLDS), observed(FOLDS), "mean")).all()
    assert folds.downsampled(np.random.default_rng(0)).wins().sum() == 0
