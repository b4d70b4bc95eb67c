"""The estimate of what tests detect agrees with the tests themselves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from benchmarks.evidence.power import detected_share

from txray.analysis.power import detectable_distance, folds_in_use


@pytest.mark.parametrize(("wins", "folds"), [(60, 16), (200, 16), (100, 8)])
def test_half_of_the_neurons_are_significant_at_the_detectable_distance(wins: int, folds: int) -> None:
    distance = detectable_distance(wins, folds)
    assert distance is not None
    assert detected_share(0.6 * distance, wins, folds, seed=5, neurons=60) < 0.5
    assert detected_share(min(1, 1.5 * distance), wins, folds, seed=5, neurons=60) > 0.5


def test_more_wins_show_smaller_changes() -> None:
    distances = [detectable_distance(wins, 16) for wins in (20, 80, 320, 1_280)]
    assert None not in distances
    np.testing.assert_allclose(np.divide(distances[:-1], distances[1:]), 2)  # type: ignore[arg-type]


def test_more_folds_show_smaller_changes() -> None:
    distances = [detectable_distance(200, folds) for folds in (6, 7, 8, 12, 16, 32, 1_000)]
    assert distances == sorted(distances, reverse=True)  # type: ignore[type-var]
    assert detectable_distance(200, 32) == detectable_distance(200, 1_000)


@pytest.mark.parametrize(("wins", "folds"), [(0, 16), (5, 16), (10_000, 5), (math.nextafter(16, 0), 16)])
def test_nothing_is_detected_with_too_few_wins_or_folds(wins: float, folds: int) -> None:
    assert detectable_distance(wins, folds) is None


def test_folds_in_use_are_those_that_random_documents_reach() -> None:
    random = np.random.default_rng(0)
    for folds, documents in ((16, 8), (16, 35), (4, 3), (64, 500)):
        used = np.mean([len(set(random.integers(folds, size=documents).tolist())) for _ in range(2_000)])
        assert folds_in_use(folds, documents) == pytest.approx(used, abs=1)
    assert folds_in_use(16, 10**9) == 16
    assert folds_in_use(16, 0) == 0
