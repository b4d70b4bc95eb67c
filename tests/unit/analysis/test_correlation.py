from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import linregress, rankdata, spearmanr

from txray.analysis import rank_correlation


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=3, max_size=12))
def test_rho_is_that_of_scipy(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, float).T
    found = rank_correlation(x, y, permutations=50)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert found.rho is None
        assert found.p_value is None
    else:
        assert found.rho == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)
        assert found.rho == rank_correlation(y, x, permutations=50).rho
        assert found.rho == rank_correlation(np.exp(x), 3 * y, permutations=50).rho


def test_the_p_value_counts_all_pairings() -> None:
    x, y = np.array([0.1, 0.4, 0.2, 0.9, 0.8]), np.array([2.0, 5.0, 1.0, 7.0, 6.0])
    found = rank_correlation(x, y)
    assert found.rho is not None
    larger = sum(
        abs(spearmanr(order, y).statistic) >= abs(found.rho) - 1e-12 for order in permutations(x.tolist())
    )
    assert found.p_value == pytest.approx(larger / 120)


def test_the_trend_can_be_taken_out() -> None:
    rng = np.random.default_rng(0)
    order = np.arange(60.0)
    x, y = -order + 20 * rng.random(60), -order + 20 * rng.random(60)
    found = rank_correlation(x, y, permutations=100)
    ranks = [rankdata(values) for values in (x, y)]
    left = [
        rank - linregress(order, rank).slope * order - linregress(order, rank).intercept for rank in ranks
    ]
    assert found.rho is not None
    assert found.partial is not None
    assert found.rho > 0.85
    assert found.partial == pytest.approx(np.corrcoef(*left)[0, 1], abs=1e-9)
    assert abs(found.partial) < 0.35


def test_missing_pairs_are_left_out() -> None:
    x = np.array([1.0, np.nan, 2.0, 3.0, 4.0])
    y = np.array([1.0, 9.0, 2.0, 4.0, np.nan])
    assert rank_correlation(x, y).n == 3
    assert rank_correlation(x[:3], y[:3]).rho is None


def test_what_is_left_without_the_trend_is_said() -> None:
    steps = np.arange(6.0)
    wave = np.array([0.0, 2.0, 1.0, 4.0, 3.0, 5.0])
    trend = rank_correlation(steps, steps).finding("a", "b")
    assert "a and b correlate (rho = 1.00, p = 0.0028, 6 steps)" in trend
    assert "but one of them merely rises or falls" in trend
    left = rank_correlation(wave, wave + 1)
    assert left.partial == pytest.approx(1)
    assert left.finding("a", "b").endswith("without the common trend rho = 1.00")


def test_a_correlation_of_noise_is_not_called_one() -> None:
    noise = rank_correlation(np.array([3.0, 1.0, 4.0, 1.5, 9.0]), np.array([2.0, 7.0, 1.0, 8.0, 2.5]))
    assert noise.p_value is not None
    assert noise.p_value > 0.05
    assert "do not correlate significantly (rho = -0.60, p = 0.35, 5 steps)" in noise.finding("a", "b")
    few = rank_correlation(np.arange(2.0), np.arange(2.0))
    assert few.finding("a", "b") == "a and b cannot be correlated over 2 steps"
