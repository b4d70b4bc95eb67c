"""The test of rates against all permutations, and its level where one text is far shorter than the other."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.analysis.test_permutation import FOLDS, every_assignment
from txray.analysis.significance.rates import rate_p_values


def studentised(wins: NDArray[np.float64], words: NDArray[np.float64], side: NDArray[np.bool_]) -> float:
    """|difference of rates| over its standard error, for one neuron, step by step."""
    rate = wins.sum() / words.sum()
    used = words > 0
    pearson = sum((k - rate * w) ** 2 / (rate * w) for k, w in zip(wins[used], words[used], strict=True))
    dispersion = max(0.5 * pearson / (used.sum() - 2), 1)
    rates, variance = [], 0.0
    for chosen in (side, ~side):
        n = (chosen & used).sum()
        scatter = ((wins[chosen] - rate * words[chosen]) ** 2).sum() * n / (n - 1) / words[chosen].sum() ** 2
        variance += max(scatter, rate * dispersion / words[chosen].sum())
        rates.append(wins[chosen].sum() / words[chosen].sum())
    return float(abs(rates[0] - rates[1]) / np.sqrt(variance))


def test_rates_are_compared_by_all_permutations() -> None:
    random = np.random.default_rng(3)
    words = random.integers(50, 100, 2 * FOLDS).astype(float)
    wins = random.poisson(4, (6, 2 * FOLDS)).astype(float)
    wins[1, FOLDS:] = 0
    wins[2] = 0
    wins[3] = words / 10
    deals = every_assignment(paired=False).astype(bool).T
    seen = np.repeat([True, False], FOLDS)
    p_values = rate_p_values(wins, words, paired=False, n=8_000, random=np.random.default_rng(0))
    for neuron in (0, 1, 4, 5):
        actual = studentised(wins[neuron], words, seen)
        extreme = [studentised(wins[neuron], words, deal) >= actual * (1 - 1e-12) for deal in deals]
        assert p_values[neuron] == pytest.approx(np.mean(extreme), abs=0.02)
    assert p_values[1] < 0.06
    assert np.isnan(p_values[2])
    assert p_values[3] > 0.05


def text(
    random: np.random.Generator, words: int, neurons: int, rate: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(neurons, 16) wins and (16,) words of documents with topics: wins come in clusters."""
    fold = random.integers(0, 16, words // 200)
    length = random.poisson(200, len(fold))
    wins = random.poisson(rate * length * random.gamma(1, 1, (neurons, len(fold))))
    by_fold = np.stack([wins[:, fold == i].sum(axis=1) for i in range(16)], axis=1)
    return by_fold.astype(float), np.bincount(fold, length, 16)


@pytest.mark.parametrize("times", [1, 5, 20])
def test_equal_rates_differ_in_one_of_twenty_neurons_however_unequal_the_texts(times: int) -> None:
    random = np.random.default_rng(times)
    small = []
    for _ in range(10):
        sides = [text(random, words, 100, 0.005) for words in (200_000, 200_000 // times)]
        wins, words = (np.concatenate(parts, axis=-1) for parts in zip(*sides, strict=True))
        small += (rate_p_values(wins, words, paired=False, n=500, random=random) < 0.05).tolist()
    assert 0.03 <= np.mean(small) <= 0.08


def test_a_rate_that_doubled_is_seen_in_a_text_twenty_times_shorter() -> None:
    random = np.random.default_rng(0)
    sides = [text(random, 400_000, 50, 0.005), text(random, 20_000, 50, 0.015)]
    wins, words = (np.concatenate(parts, axis=-1) for parts in zip(*sides, strict=True))
    assert (rate_p_values(wins, words, paired=False, n=500, random=random) < 0.05).mean() > 0.9


def test_a_single_expected_win_that_is_missing_is_no_difference() -> None:
    random = np.random.default_rng(0)
    words = np.concatenate((np.full(16, 1_000.0), np.full(16, 50.0)))
    wins = np.concatenate((random.poisson(1.25, (200, 16)), np.zeros((200, 16))), axis=1)
    assert (rate_p_values(wins, words, paired=False, n=500, random=random) < 0.05).mean() < 0.08


@pytest.mark.parametrize("paired", [True, False])
def test_a_stage_that_read_no_words_has_no_rate_to_compare(paired: bool) -> None:
    words = np.repeat([100.0, 0.0], FOLDS)
    wins = np.array([[3.0] * FOLDS + [0.0] * FOLDS, [0.0] * 2 * FOLDS])
    for side in (slice(None), slice(None, None, -1)):
        p_values = rate_p_values(
            wins[:, side], words[side], paired=paired, n=50, random=np.random.default_rng(0)
        )
        assert np.isnan(p_values).all()
