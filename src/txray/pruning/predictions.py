"""The predictions of a model for each document, and their metrics over any weighting of the documents."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from txray.errors import ShapeError
from txray.metrics import Weights, auroc, f1_score

METRIC_SIGNS: Mapping[str, int] = {"accuracy": 1, "f1": 1, "auroc": 1, "loss": -1, "perplexity": -1}
"""Metric -> 1 if higher is better, -1 if lower is."""


class Predictions(ABC):
    """The predictions of a model for each document.

    `weights` are (n_samples, n_documents) counts of each document in each bootstrap sample.
    """

    @property
    @abstractmethod
    def n_documents(self) -> int:
        """Return the number of documents; 0 if only totals are known."""

    @abstractmethod
    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """Return the content by name, for a file; targets and numbers of words come from the text."""

    @abstractmethod
    def metrics(self, weights: Weights) -> dict[str, NDArray[np.float64]]:
        """Return metric -> (n_samples,) values; NaN where undefined."""

    def chance(self, weights: Weights) -> dict[str, NDArray[np.float64]]:
        """Return metric -> (n_samples,) values of a model without knowledge, for the metrics that have such a level."""
        return {}


@dataclass(frozen=True, eq=False)
class ClassPredictions(Predictions):
    """Log-probabilities of classes.

    Attributes:
        log_probability: (n_documents, n_classes) in nats.
        target: (n_documents,) index of the right class.
    """

    log_probability: NDArray[np.float64]
    target: NDArray[np.int64]

    @property
    def n_documents(self) -> int:
        """Return the number of documents."""
        return len(self.target)

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """Return the log-probabilities; the targets come from the text."""
        return {"log_probability": self.log_probability}

    def metrics(self, weights: Weights) -> dict[str, NDArray[np.float64]]:
        """Return accuracy, F1, AUROC (two classes only) and loss in nats per document.

        F1 is that of the second of two classes, or the mean over more. If classes are equally likely, the first one is
        the prediction. Ties count one half in the AUROC.
        """
        predicted = self.log_probability.argmax(axis=1)
        n_classes = self.log_probability.shape[1]
        correct = (predicted == self.target).astype(np.float64)
        nats = -self.log_probability[np.arange(self.n_documents), self.target]
        total = weights.sum(axis=1)
        f1 = [f1_score(predicted == c, self.target == c, weights) for c in range(n_classes)]
        metrics = {
            "accuracy": weights @ correct / total,
            "f1": f1[1] if n_classes == 2 else np.mean(f1, axis=0),
        }
        if n_classes == 2:
            log_odds = self.log_probability[:, 1] - self.log_probability[:, 0]
            metrics["auroc"] = auroc(log_odds, self.target == 1, weights)
        metrics["loss"] = weights @ nats / total
        return metrics

    def chance(self, weights: Weights) -> dict[str, NDArray[np.float64]]:
        """Return the accuracy of always predicting the largest class, and an AUROC of 0.5 for two classes."""
        largest = np.bincount(self.target, minlength=1).argmax()
        levels = {"accuracy": weights @ (self.target == largest).astype(np.float64) / weights.sum(axis=1)}
        if self.log_probability.shape[1] == 2:
            levels["auroc"] = np.full(len(weights), 0.5)
        return levels


@dataclass(frozen=True, eq=False)
class WordPredictions(Predictions):
    """The loss of a language model.

    Attributes:
        nats: (n_documents,) negative log-probability of the predicted words.
        words: (n_documents,) number of predicted words, or pieces of words.
    """

    nats: NDArray[np.float64]
    words: NDArray[np.float64]

    @property
    def n_documents(self) -> int:
        """Return the number of documents."""
        return len(self.nats)

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """Return the losses; the numbers of words come from the text."""
        return {"nats": self.nats}

    def metrics(self, weights: Weights) -> dict[str, NDArray[np.float64]]:
        """Return perplexity, and loss in nats per word."""
        loss = weights @ self.nats / (weights @ self.words)
        return {"perplexity": np.exp(np.minimum(loss, 700.0)), "loss": loss}


@dataclass(frozen=True, eq=False)
class UserMetrics(Predictions):
    """The values of a user-defined metric.

    Attributes:
        values: metric -> (n_documents,) one number per document, or (1,) one number in total.
    """

    values: Mapping[str, NDArray[np.float64]]

    def __post_init__(self) -> None:
        sizes = {len(values) for values in self.values.values()} - {1}
        if len(sizes) > 1:
            raise ShapeError(
                f"metrics return {sorted(sizes)} numbers; return one number, or one for each of the same documents"
            )

    @property
    def n_documents(self) -> int:
        """Return the number of documents; 0 if all metrics are one number in total."""
        return max((len(values) for values in self.values.values() if len(values) > 1), default=0)

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """Return the values."""
        return dict(self.values)

    def metrics(self, weights: Weights) -> dict[str, NDArray[np.float64]]:
        """Return means over documents; one number in total cannot be resampled."""
        factor = np.nan if len(weights) > 1 else 1.0
        return {
            name: weights @ values / weights.sum(axis=1)
            if len(values) == weights.shape[1]
            else np.full(len(weights), factor * values[0])
            for name, values in self.values.items()
        }
