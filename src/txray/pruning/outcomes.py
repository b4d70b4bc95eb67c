"""What a model made of each document, and the metrics of any weighting of the documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from txray.errors import ShapeError

Weights = NDArray[np.float64]
"""(n_samples, n_documents) how often each document is in each sample."""

BETTER: Mapping[str, int] = {"accuracy": 1, "f1": 1, "auroc": 1, "loss": -1, "perplexity": -1}
"""Metric -> 1 where more is better, -1 where less is."""


class Outcomes(Protocol):
    """What a model made of each document."""

    @property
    def documents(self) -> int:
        """How many; 0 where only totals are known."""

    def metrics(self, weights: Weights) -> dict[str, NDArray[np.float64]]:
        """Metric -> (n_samples,) values; NaN where a sample has none."""

    def chance(self, weights: Weights) -> dict[str, NDArray[np.float64]]:
        """Return metric -> (n_samples,) values of a model that knows nothing; only metrics that have such a level."""

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """Everything it holds, by name."""


@dataclass(frozen=True, eq=False)
class Classified:
    """Log-probabilities of classes.

    Attributes:
        log_probability: (n_documents, n_classes) in nats.
        target: (n_documents,) number of the right class.
    """

    log_probability: NDArray[np.float64]
    target: NDArray[np.int64]

    @property
    def documents(self) -> int:
        """How many."""
        return len(self.target)

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """The log-probabilities; targets are known from the text."""
        return {"log_probability": self.log_probability}

    def metrics(self, weights: Weights) -> dict[str, NDArray[np.float64]]:
        """Accuracy, F1, AUROC (of two classes only) and loss in nats per document.

        Of two classes, F1 is that of the second; of more, the mean over classes. Of equally likely classes the first
        is taken for the prediction. AUROC counts ties as one half.
        """
        predicted = self.log_probability.argmax(axis=1)
        classes = self.log_probability.shape[1]
        right = (predicted == self.target).astype(np.float64)
        nats = -self.log_probability[np.arange(self.documents), self.target]
        total = weights.sum(axis=1)
        of_class = [_f1(predicted == c, self.target == c, weights) for c in range(classes)]
        found = {
            "accuracy": weights @ right / total,
            "f1": of_class[1] if classes == 2 else np.mean(of_class, axis=0),
        }
        if classes == 2:
            found["auroc"] = _auroc(
                self.log_probability[:, 1] - self.log_probability[:, 0], self.target == 1, weights
            )
        found["loss"] = weights @ nats / total
        return found

    def chance(self, weights: Weights) -> dict[str, NDArray[np.float64]]:
        """Return the accuracy of always naming the largest class, and of two classes an AUROC of one half."""
        largest = np.bincount(self.target, minlength=1).argmax()
        levels = {"accuracy": weights @ (self.target == largest).astype(np.float64) / weights.sum(axis=1)}
        if self.log_probability.shape[1] == 2:
            levels["auroc"] = np.full(len(weights), 0.5)
        return levels


@dataclass(frozen=True, eq=False)
class Predicted:
    """Surprise of a language model.

    Attributes:
        nats: (n_documents,) negative log-probability of all that was predicted.
        words: (n_documents,) how many words, or pieces of words, that were.
    """

    nats: NDArray[np.float64]
    words: NDArray[np.float64]

    @property
    def documents(self) -> int:
        """How many."""
        return len(self.nats)

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """The surprise; the words are known from the text."""
        return {"nats": self.nats}

    def metrics(self, weights: Weights) -> dict[str, NDArray[np.float64]]:
        """Perplexity, and loss in nats per word."""
        loss = weights @ self.nats / (weights @ self.words)
        return {"perplexity": np.exp(np.minimum(loss, 700.0)), "loss": loss}

    def chance(self, weights: Weights) -> dict[str, NDArray[np.float64]]:
        """Return no level: what a model knows that has read nothing depends on its vocabulary."""
        return {}


@dataclass(frozen=True, eq=False)
class Measured:
    """What a metric of the user says.

    Attributes:
        values: metric -> (n_documents,) one number per document, or (1,) one number in all.
    """

    values: Mapping[str, NDArray[np.float64]]

    def __post_init__(self) -> None:
        sizes = {len(each) for each in self.values.values()} - {1}
        if len(sizes) > 1:
            raise ShapeError(
                f"metrics give {sorted(sizes)} numbers; give one in all, or one for each of the same documents"
            )

    @property
    def documents(self) -> int:
        """How many; 0 where all metrics give one number in all."""
        return max((len(each) for each in self.values.values() if len(each) > 1), default=0)

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """The values."""
        return dict(self.values)

    def metrics(self, weights: Weights) -> dict[str, NDArray[np.float64]]:
        """Means over documents; one number in all has no samples."""
        alone = np.nan if len(weights) > 1 else 1.0
        return {
            name: weights @ each / weights.sum(axis=1)
            if len(each) == weights.shape[1]
            else np.full(len(weights), alone * each[0])
            for name, each in self.values.items()
        }

    def chance(self, weights: Weights) -> dict[str, NDArray[np.float64]]:
        """Return no level: only the user knows it."""
        return {}


def _f1(predicted: NDArray[np.bool_], positive: NDArray[np.bool_], weights: Weights) -> NDArray[np.float64]:
    """2 TP / (2 TP + FP + FN); 0 where nothing is positive and nothing predicted."""
    both = weights @ (predicted & positive).astype(np.float64)
    either = weights @ (predicted.astype(np.float64) + positive.astype(np.float64))
    return np.divide(2 * both, either, out=np.zeros_like(both), where=either > 0)


def _auroc(score: NDArray[np.float64], positive: NDArray[np.bool_], weights: Weights) -> NDArray[np.float64]:
    """How often a positive document has the higher score than a negative one; NaN without both."""
    order = np.argsort(score, kind="stable")
    ranked, is_positive = score[order], positive[order]
    negative = np.zeros((len(weights), len(score) + 1))
    np.cumsum(weights[:, order] * ~is_positive, axis=1, out=negative[:, 1:])
    first = np.searchsorted(ranked, ranked[is_positive], side="left")
    last = np.searchsorted(ranked, ranked[is_positive], side="right")
    below = (negative[:, first] + negative[:, last]) / 2
    of_positive = weights[:, order][:, is_positive]
    pairs = of_positive.sum(axis=1) * negative[:, -1]
    wins = (of_positive * below).sum(axis=1)
    found: NDArray[np.float64] = np.divide(wins, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)
    return found
