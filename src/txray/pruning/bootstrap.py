"""Bootstrap of the documents a model is scored on: whole groups of dependent documents are resampled."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from txray.errors import UsageError
from txray.pruning.predictions import Predictions

INTERVAL = 0.95
"""Nominal coverage of the intervals."""


def bootstrap_counts(groups: NDArray[np.int64], resamples: int, digest: str) -> NDArray[np.float64]:
    """Return (resamples, n_documents) counts of each document in samples with replacement.

    Whole groups are drawn, as many as there are (a cluster bootstrap), so documents of one group have equal counts.
    The same groups are resampled in the same way in all comparisons: of sets, metrics and trainings; the draw is seeded
    by `digest`, a hash of the documents. `groups`: (n_documents,), see `group_numbers`; at least one document.
    """
    n = int(groups.max()) + 1
    seed = int.from_bytes(hashlib.sha256(digest.encode()).digest()[:8], "little")
    random = np.random.default_rng([seed, n])
    counts = random.multinomial(n, np.full(n, 1 / n), size=resamples)
    # `take` returns contiguous rows, `counts[:, groups]` does not: the last digits of sums depend on it.
    return counts.take(groups, axis=1).astype(np.float64)


def group_numbers(keys: Sequence[int]) -> NDArray[np.int64]:
    """Return (n,) group numbers of documents by their `fold_key`, counted from 0 in the order of the first document."""
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def percentile_interval(samples: NDArray[np.float64]) -> tuple[float, float]:
    """Return the bounds of the bootstrap percentile interval; NaN if no sample is finite."""
    finite = samples[np.isfinite(samples)]
    if not len(finite):
        return float("nan"), float("nan")
    low, high = np.quantile(finite, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2])
    return float(low), float(high)


@dataclass(frozen=True, eq=False)
class RunMetrics:
    """Metrics of one run of a model.

    Attributes:
        observed: metric -> value over all documents.
        resampled: metric -> (resamples,) values; None without resamples.
    """

    observed: Mapping[str, float]
    resampled: Mapping[str, NDArray[np.float64]] | None


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Resampled documents of one text.

    Attributes:
        n_documents: number of documents.
        weights: (resamples, n_documents) counts; None if there are fewer than two groups.
        names: names of the metrics.
    """

    n_documents: int
    weights: NDArray[np.float64] | None
    names: Sequence[str]

    @classmethod
    def of(
        cls, unpruned: Predictions, digest: str, resamples: int, groups: NDArray[np.int64] | None = None
    ) -> Bootstrap:
        """Resample the documents; by default each document is its own group, see `bootstrap_counts`."""
        n = unpruned.n_documents
        groups = np.arange(n) if groups is None else groups
        names = list(unpruned.metrics(np.ones((1, max(n, 1)))))
        return cls(n, bootstrap_counts(groups, resamples, digest) if groups.any() else None, names)

    def metrics(self, predictions: Predictions) -> RunMetrics:
        """Return the metrics of one run.

        Raises:
            UsageError: it has other documents or metrics than the unpruned model.
        """
        if predictions.n_documents != self.n_documents:
            raise UsageError(
                f"metric: returned {predictions.n_documents} numbers, but {self.n_documents} for the unpruned model; "
                "return one for each of the same documents"
            )
        observed = predictions.metrics(np.ones((1, max(self.n_documents, 1))))
        if set(observed) != set(self.names):
            raise UsageError(
                f"metric: returned {', '.join(sorted(observed))}, but {', '.join(sorted(self.names))} for the "
                "unpruned model; return the same names each time"
            )
        return RunMetrics(
            {name: float(value[0]) for name, value in observed.items()},
            None if self.weights is None else predictions.metrics(self.weights),
        )

    def chance(self, unpruned: Predictions) -> dict[str, dict[str, float | bool | None]]:
        """Return the chance level of each metric that has one, as plain JSON values.

        Metric -> `value`, `chance`, the bounds `low` and `high` of the 95% interval of value - chance (null if
        unknown), and `above`: whether the value is above chance, that is, whether the interval lies above 0.
        """
        once = np.ones((1, max(self.n_documents, 1)))
        values, levels = unpruned.metrics(once), unpruned.chance(once)
        result: dict[str, dict[str, float | bool | None]] = {}
        for name, level in levels.items():
            if not np.isfinite(values[name][0]):
                continue
            low = high = float("nan")
            if self.weights is not None:
                difference = unpruned.metrics(self.weights)[name] - unpruned.chance(self.weights)[name]
                low, high = percentile_interval(difference)
            is_known = bool(np.isfinite(low))
            result[name] = {
                "value": float(values[name][0]),
                "chance": float(level[0]),
                "low": low if is_known else None,
                "high": high if is_known else None,
                "above": low > 0 if is_known else None,
            }
        return result
