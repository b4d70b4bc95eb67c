"""Metrics of classification, each over any number of weightings of the examples at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float64]
"""(n_samples, n_examples) weight of each example in each sample, such as its count in a bootstrap sample."""


def f1_score(
    predicted: NDArray[np.bool_], positive: NDArray[np.bool_], weights: Weights
) -> NDArray[np.float64]:
    """Return (n_samples,) F1 scores: 2 TP / (2 TP + FP + FN), or 0 if nothing is positive or predicted.

    Args:
        predicted: (n_examples,) predicted as positive.
        positive: (n_examples,) positive.
        weights: (n_samples, n_examples).

    Example:
        >>> predicted, positive = np.array([True, True, False]), np.array([True, False, False])
        >>> f1_score(predicted, positive, np.ones((1, 3))).round(3).tolist()
        [0.667]
    """
    true_positives = weights @ (predicted & positive).astype(np.float64)
    denominator = weights @ (predicted.astype(np.float64) + positive.astype(np.float64))
    return np.divide(
        2 * true_positives, denominator, out=np.zeros_like(true_positives), where=denominator > 0
    )


def auroc(score: NDArray[np.floating], positive: NDArray[np.bool_], weights: Weights) -> NDArray[np.float64]:
    """Return (n_samples,) areas under the ROC curve; NaN if a sample lacks positives or negatives.

    The area is the probability that a positive example has a higher score than a negative one; ties count one half.

    Args:
        score: (n_examples,) higher for positive examples.
        positive: (n_examples,) positive.
        weights: (n_samples, n_examples).

    Example:
        >>> auroc(np.array([0.1, 0.9, 0.5]), np.array([False, True, True]), np.ones((1, 3))).tolist()
        [1.0]
    """
    order = np.argsort(score, kind="stable")
    sorted_score, is_positive = score[order], positive[order]
    # negative[:, i]: weight of the negatives among the i lowest scores.
    negative = np.zeros((len(weights), len(score) + 1))
    np.cumsum(weights[:, order] * ~is_positive, axis=1, out=negative[:, 1:])
    first = np.searchsorted(sorted_score, sorted_score[is_positive], side="left")
    last = np.searchsorted(sorted_score, sorted_score[is_positive], side="right")
    below = (negative[:, first] + negative[:, last]) / 2
    positive_weights = weights[:, order][:, is_positive]
    pairs = positive_weights.sum(axis=1) * negative[:, -1]
    wins = (positive_weights * below).sum(axis=1)
    area: NDArray[np.float64] = np.divide(wins, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)
    return area
