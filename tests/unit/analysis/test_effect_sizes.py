"""Corrected Hellinger distances against a computation by hand, and against known truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import t as student

from tests.builders.preferences import Events, preferences_of, random_events
from tests.unit.analysis.test_fold_counts import pair
from txray.analysis.effect_sizes import EffectSize, effect_size
from txray.analysis.significance.fold_counts import FoldCounts
from txray.analysis.significance.split_half import Halves, split_in_halves
from txray.preferences import Preferences

FOLDS = 8


def equal_pair(seed: int = 0) -> tuple[Preferences, Preferences]:
    """Two stages in which every neuron wins equally often, so that nothing is thinned."""
    sides: list[Events] = []
    for side in range(2):
        random = np.random.default_rng([seed, side])
        sides.append(
            [
                (
                    int(random.integers(FOLDS)),
                    neuron,
                    f"w{int(random.zipf(1.6)) % 12}",
                    float(random.random()) + 0.1,
                )
                for neuron in range(12)
                for _ in range(5 + 10 * neuron)
            ]
        )
    before, after = (preferences_of(events, folds=FOLDS) for events in sides)
    return before, after


def dense(side: Preferences, names: list[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Counts and sums as (neurons, folds, features)."""
    shape = (side.n_neurons, side.folds, len(names))
    count, total = np.zeros(shape), np.zeros(shape)
    column = np.array([names.index(name) for name in side.features.tolist()])
    np.add.at(count, (side.neuron, side.fold, column[side.feature_id]), side.count)
    np.add.at(total, (side.neuron, side.fold, column[side.feature_id]), side.sum)
    return count, total


def means(
    count: NDArray[np.float64], total: NDArray[np.float64], folds: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distribution of the mean activations of one neuron over the chosen folds; NaN where there are none."""
    n, s = folds @ count, folds @ total
    weights = np.divide(s, n, out=np.zeros_like(s), where=n > 0)
    with np.errstate(invalid="ignore"):
        return np.asarray(weights / weights.sum())


def by_hand(
    sides: tuple[Preferences, Preferences], first: NDArray[np.float64], keep: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(3, neurons): within_before, within_after, between, averaged over splits, of the folds to keep."""
    names = sorted({*sides[0].features.tolist(), *sides[1].features.tolist()})
    (bc, bs), (ac, as_) = (dense(side, names) for side in sides)
    result = np.full((3, len(bc)), np.nan)
    for neuron in range(len(bc)):
        of_splits = []
        for half in first.T:
            p1, p2, q1, q2 = (
                means(count[neuron], total[neuron], chosen * keep)
                for count, total in ((bc, bs), (ac, as_))
                for chosen in (half, 1 - half)
            )
            overlap = [float(np.sqrt(a * b).sum()) for a, b in ((p1, p2), (q1, q2), (p1, q2), (q1, p2))]
            if np.isfinite(overlap).all():
                of_splits.append((overlap[0], overlap[1], (overlap[2] + overlap[3]) / 2))
        if of_splits:
            result[:, neuron] = np.mean(of_splits, axis=0)
    return result


def test_distances_and_intervals_are_those_of_the_formulas() -> None:
    sides = equal_pair()
    splits = split_in_halves(FOLDS, 4, np.random.default_rng(0))
    draws = [FoldCounts.of(*sides)]
    sizes = EffectSize.of(draws, Halves.of(draws, *splits, "mean"), splits, "mean")
    everything = by_hand(sides, splits[0], np.ones(FOLDS))
    without = np.stack(
        [by_hand(sides, splits[0], (np.arange(FOLDS) != fold) * 1.0) for fold in range(FOLDS)], axis=-1
    )

    def squared(overlaps: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(divide="ignore", invalid="ignore"):
            value = 1 - overlaps[2] / np.sqrt(overlaps[0] * overlaps[1])
        return np.where(np.minimum(overlaps[0], overlaps[1]) < 0.05, np.nan, value)

    def of_layer(overlaps: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1 - np.nansum(overlaps[2], axis=0) / np.nansum(np.sqrt(overlaps[0] * overlaps[1]), axis=0)

    for estimate, distance, low, high in (
        (squared, sizes.distance, sizes.low, sizes.high),
        (of_layer, sizes.layer, sizes.layer_low, sizes.layer_high),
    ):
        value, left = estimate(everything), estimate(without)
        np.testing.assert_allclose(distance, np.sqrt(np.clip(value, 0, 1)), atol=1e-7)
        variance = (FOLDS - 1) ** 2 / FOLDS * np.var(left, axis=-1, ddof=1)
        # Of the layer, the bias does not count.
        bias = (FOLDS - 1) * (left.mean(axis=-1) - value) if np.ndim(value) else 0.0
        width = student.ppf(0.975, FOLDS - 1) * np.sqrt(variance + bias**2)
        np.testing.assert_allclose(high, np.sqrt(np.clip(value + width, 0, 1)), atol=1e-6)
        some = everything[2] > 0 if np.ndim(value) else True
        expected = np.sqrt(np.clip(value - width, 0, 1))
        np.testing.assert_allclose(np.where(some, low, 0), np.where(some, expected, 0), atol=1e-6)
    assert np.isfinite(sizes.distance).sum() > 8


def test_signal_is_the_overlap_within_less_the_overlap_between() -> None:
    sides = equal_pair(1)
    splits = split_in_halves(FOLDS, 4, np.random.default_rng(0))
    within_before, within_after, between = by_hand(sides, splits[0], np.ones(FOLDS))
    signal_of_halves = Halves.of([FoldCounts.of(*sides)], *splits, "mean").signal
    np.testing.assert_allclose(signal_of_halves, (within_before + within_after) / 2 - between, atol=1e-9)


def synthetic_pair(
    truth: float, wins: int, seed: int, *, neurons: int = 60, words: int = 40
) -> tuple[Preferences, Preferences]:
    """Neurons of which words with a share of `truth`**2 of the wins are exchanged for others, equally often won."""
    share = np.full(words, 1 / words)
    moved = round(truth**2 * words)
    sides: list[Events] = []
    for side in range(2):
        random = np.random.default_rng([seed, side])
        events: Events = []
        for neuron in range(neurons):
            for word in random.choice(words, wins, p=share).tolist():
                name = f"n{word}" if side and word < moved else f"w{word}"
                events.append((int(random.integers(16)), neuron, name, 1.0))
        sides.append(events)
    before, after = (preferences_of(events, n_neurons=neurons, folds=16) for events in sides)
    return before, after


@pytest.mark.parametrize("truth", [0.0, 0.3162, 0.5477, 1.0])
@pytest.mark.parametrize("wins", [60, 600])
def test_the_truth_is_recovered_whatever_the_number_of_wins(truth: float, wins: int) -> None:
    sizes = effect_size(*synthetic_pair(truth, wins, 3), weight="count")
    assert sizes.layer == pytest.approx(truth, abs=0.12 if truth < 0.1 else 0.05)
    inside = (sizes.low <= truth + 1e-9) & (sizes.high >= truth - 1e-9)
    assert inside[np.isfinite(sizes.distance)].mean() >= 0.9
    assert sizes.layer_low <= truth + 1e-9 <= sizes.layer_high + 2e-9


def test_what_cannot_be_known_is_nan() -> None:
    once = preferences_of([(0, 0, "a", 1.0), (1, 1, "a", 1.0), (2, 1, "b", 1.0), (3, 1, "c", 1.0)], folds=4)
    sizes = effect_size(once, once)
    assert np.isnan(sizes.distance[0]), "one win leaves no second half"
    assert np.isnan(sizes.distance[1]), "halves of one stage share nothing"
    assert np.isnan(sizes.distance[5]), "never wins"
    assert np.isnan(effect_size(*pair(), intervals=False).low).all()


def test_the_same_stage_twice_has_not_moved() -> None:
    before = preferences_of(random_events(2_000, folds=8), folds=8)
    sizes = effect_size(before, before)
    assert sizes.layer < 0.1
    assert sizes.layer_low == 0


def test_neurons_that_share_nothing_may_have_been_missed_by_few_wins() -> None:
    few, many = (
        effect_size(*synthetic_pair(1.0, wins, 5, neurons=4, words=3), weight="count") for wins in (30, 3_000)
    )
    for sizes, wins in ((few, 30), (many, 3_000)):
        assert (sizes.distance == 1).all()
        assert (sizes.high == 1).all()
        np.testing.assert_allclose(sizes.low, np.sqrt(0.025 ** (1 / wins)), atol=1e-9)


def test_neither_the_order_of_the_stages_nor_that_of_the_features_matters() -> None:
    before, after = pair()
    order = np.random.default_rng(0).permutation(len(after.features))
    reordered = replace(
        after,
        features=after.features[order],
        corpus_counts=after.corpus_counts[:, order],
        feature_id=np.argsort(order)[after.feature_id],
    )
    forward = effect_size(before, after, splits=4, draws=2)
    for other in (
        effect_size(after, before, splits=4, draws=2),
        effect_size(before, reordered, splits=4, draws=2),
    ):
        for name in ("signal", "distance", "low", "high", "layer", "layer_low", "layer_high"):
            np.testing.assert_allclose(getattr(forward, name), getattr(other, name), rtol=0, atol=1e-6)
