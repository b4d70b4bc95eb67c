"""Upper confidence bounds of how much of a metric a pruned model loses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student

from txray.pruning.bootstrap import Bootstrap
from txray.pruning.predictions import ClassPredictions, Predictions

UNITS = {"accuracy": "points", "auroc": "points", "perplexity": "percent"}
"""Metric that a bound is known for -> unit of its losses: percentage points, or percent of the unpruned value."""


@dataclass(frozen=True)
class Loss:
    """Loss of a metric by a pruned model.

    Attributes:
        before, after: metric of the unpruned and of the pruned model.
        loss: what is lost, in the unit of the metric, see `UNITS`; negative if the pruned model is better.
        bound: upper confidence bound of the loss over all documents like these.
    """

    before: float
    after: float
    loss: float
    bound: float


def loss_of(
    metric: str,
    unpruned: Predictions,
    pruned: Predictions,
    bootstrap: Bootstrap,
    n_groups: int,
    confidence: float,
) -> Loss:
    """Return the loss of a metric with its upper bound.

    Accuracy has a score bound for paired documents (Tango 1998) with a continuity correction, so that it is not too
    small for few changed documents either. AUROC, perplexity, and accuracy over groups of dependent documents, use
    Student's t with the standard error of the bootstrap over groups, or the quantile of the bootstrap if it is larger.

    Args:
        metric: one of `UNITS`.
        unpruned, pruned: predictions for the same documents.
        bootstrap: resampled documents.
        n_groups: number of groups that are resampled.
        confidence: one-sided.
    """
    before, after = bootstrap.metrics(unpruned), bootstrap.metrics(pruned)
    first, second = before.observed[metric], after.observed[metric]
    loss = float(_lost(metric, np.array(first), np.array(second)))
    bound = float("-inf")
    if (
        metric == "accuracy"
        and isinstance(unpruned, ClassPredictions)
        and isinstance(pruned, ClassPredictions)
    ):
        was_right, is_right = (one.log_probability.argmax(axis=1) == one.target for one in (unpruned, pruned))
        n_lost, n_gained = int((was_right & ~is_right).sum()), int((~was_right & is_right).sum())
        bound = 100 * accuracy_loss_bound(n_lost, n_gained, len(was_right), confidence)
    if metric != "accuracy" or n_groups < unpruned.n_documents:
        bound = max(
            bound, _bootstrap_bound(metric, before.resampled, after.resampled, loss, n_groups, confidence)
        )
    return Loss(first, second, loss, bound)


def accuracy_loss_bound(n_lost: int, n_gained: int, n: int, confidence: float) -> float:
    """Return the upper bound of the share of documents lost minus that gained.

    Args:
        n_lost: number of documents that are right before and wrong after pruning.
        n_gained: number of documents that are wrong before and right after.
        n: number of documents.
        confidence: one-sided.

    Source:
        Tango 1998, Equivalence test and confidence interval for the difference in proportions for the paired-sample
        design, with half a lost document added.
    """
    lost, quantile = min(n_lost + 0.5, n - n_gained), float(norm.ppf(confidence))

    def statistic(delta: float) -> float:
        b = -lost - n_gained + (2 * n - lost + n_gained) * delta
        # The most likely share of gained documents if the difference is `delta`.
        gained = (np.sqrt(max(b * b + 8 * n * n_gained * delta * (1 - delta), 0.0)) - b) / (4 * n)
        variance = n * (2 * gained + delta * (1 - delta))
        return float((lost - n_gained - n * delta) / np.sqrt(variance)) if variance > 0 else -np.inf

    low, high = max((lost - n_gained) / n, -1 + 1e-12), 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if statistic(middle) > -quantile else (low, middle)
    return high


def smallest_bound(metric: str, n_documents: int, confidence: float) -> float | None:
    """Return the bound of a model that pruning does not change, in the unit of the metric; None if it may be 0."""
    return 100 * accuracy_loss_bound(0, 0, n_documents, confidence) if metric == "accuracy" else None


def _lost(metric: str, before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    return 100 * (after / before - 1) if UNITS[metric] == "percent" else 100 * (before - after)


def _bootstrap_bound(
    metric: str, before: object, after: object, loss: float, n_groups: int, confidence: float
) -> float:
    if not isinstance(before, dict) or not isinstance(after, dict):
        return float("inf")
    samples = _lost(metric, before[metric], after[metric])
    samples = samples[np.isfinite(samples)]
    if len(samples) < 2 or n_groups < 2:
        return float("inf")
    reach = float(student.ppf(confidence, n_groups - 1)) * float(samples.std(ddof=1))
    return max(loss + reach, float(np.quantile(samples, confidence)))
