"""F1 and AUROC against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from txray.metrics import auroc, f1_score

ONE = np.ones((1, 6))
SCORE = np.array([0.1, 0.4, 0.4, 0.8, 0.4, 0.9])
POSITIVE = np.array([False, True, False, True, False, False])


def counted_auroc(score: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """The share of pairs in which the positive has the higher score, pair by pair; ties are one half."""
    wins = [
        1.0 if high > low else 0.5 if high == low else 0.0
        for high in score[positive]
        for low in score[~positive]
    ]
    return sum(wins) / len(wins)


def counted_f1(predicted: NDArray[np.bool_], positive: NDArray[np.bool_]) -> float:
    """The harmonic mean of precision and recall."""
    hits = (predicted & positive).sum()
    precision, recall = hits / predicted.sum(), hits / positive.sum()
    return float(2 * precision * recall / (precision + recall))


def test_a_handful_of_scores() -> None:
    # Pairs: 0.4 beats 0.1, ties with 0.4 twice, loses to 0.9; 0.8 beats three and loses to 0.9.
    assert auroc(SCORE, POSITIVE, ONE).tolist() == [5 / 8]
    # Above one half: 0.8 and 0.9; one of them is positive, and one positive is missed.
    assert f1_score(SCORE > 0.5, POSITIVE, ONE).tolist() == [0.5]


@pytest.mark.parametrize("seed", range(3))
def test_weights_are_repetitions(seed: int) -> None:
    random = np.random.default_rng(seed)
    score, positive = random.normal(size=50).round(1), random.random(50) < 0.4
    weights = random.multinomial(50, np.full(50, 0.02), size=20).astype(np.float64)
    f1, area = f1_score(score > 0, positive, weights), auroc(score, positive, weights)
    for sample, counts in enumerate(weights.astype(int)):
        repeated = np.repeat(np.arange(50), counts)
        assert f1[sample] == pytest.approx(counted_f1(score[repeated] > 0, positive[repeated]), abs=1e-12)
        assert area[sample] == pytest.approx(counted_auroc(score[repeated], positive[repeated]), abs=1e-12)


def test_extremes() -> None:
    assert auroc(SCORE, np.ones(6, bool), ONE).tolist() == pytest.approx([np.nan], nan_ok=True)
    assert auroc(SCORE, np.zeros(6, bool), ONE).tolist() == pytest.approx([np.nan], nan_ok=True)
    assert auroc(np.zeros(6), POSITIVE, ONE).tolist() == [0.5]
    assert f1_score(np.zeros(6, bool), np.zeros(6, bool), ONE).tolist() == [0]
    assert f1_score(np.ones(6, bool), np.ones(6, bool), ONE).tolist() == [1]
