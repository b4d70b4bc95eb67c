"""Rankings of neurons for one concept, from activations and labels of words; each returns the neurons, best first."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import SGDClassifier

from txray.analysis.concepts.scores import auroc
from txray.preferences.histograms import BINS, bin_edges

Activations = NDArray[np.float32]
Labels = NDArray[np.bool_]


@dataclass(frozen=True)
class Words:
    """Activations at words: (n_words, n_neurons), the concept of each, and the document of each."""

    activations: Activations
    labels: Labels
    document: NDArray[np.int64]


def by_histograms(words: Words) -> NDArray[np.int64]:
    """Rank by AUROC from 128 bins, as `txray.rank_neurons` does, with bins from a sample of 4,096 words."""
    sample = words.activations[np.isin(words.document, _sampled(words.document))]
    edges = bin_edges(sample)
    by_neuron = torch.from_numpy(words.activations).T.contiguous()
    bins = torch.searchsorted(torch.from_numpy(edges), by_neuron, right=True).numpy()
    cell = bins + BINS * np.arange(len(bins))[:, None]
    positive, negative = (
        np.bincount(cell[:, rows].ravel(), minlength=BINS * len(bins)).reshape(len(bins), BINS)
        for rows in (words.labels, ~words.labels)
    )
    area = auroc(positive.astype(np.float64), negative.astype(np.float64))
    return np.argsort(-np.maximum(area, 1 - area), kind="stable")


def _sampled(document: NDArray[np.int64]) -> NDArray[np.int64]:
    names, sizes = np.unique(document, return_counts=True)
    order = np.random.default_rng(0).permutation(len(names))
    return names[order[: 1 + np.searchsorted(np.cumsum(sizes[order]), 4_096)]]


def probeless(words: Words) -> NDArray[np.int64]:
    """Rank by the difference of the means (Antverg and Belinkov 2022)."""
    difference = words.activations[words.labels].mean(axis=0) - words.activations[~words.labels].mean(axis=0)
    return np.argsort(-np.abs(difference), kind="stable")


def intersection_over_union(words: Words) -> NDArray[np.int64]:
    """Rank by the overlap of the words above a threshold with the concept (Mu and Andreas 2020).

    A neuron is active above the quantile that leaves as many words as the concept has.
    """
    threshold = np.quantile(words.activations, 1 - words.labels.mean(), axis=0)
    active = words.activations > threshold
    both = active[words.labels].sum(axis=0)
    return np.argsort(-(both / (active.sum(axis=0) + words.labels.sum() - both)), kind="stable")


def linear_probe(words: Words) -> NDArray[np.int64]:
    """Rank by the weights of a logistic regression with elastic net (Dalvi et al. 2019)."""
    scaled = (words.activations - words.activations.mean(axis=0)) / (words.activations.std(axis=0) + 1e-9)
    probe = SGDClassifier(
        loss="log_loss", penalty="elasticnet", alpha=1e-4, l1_ratio=0.5, max_iter=10, tol=None, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        probe.fit(scaled, words.labels)
    return np.argsort(-np.abs(probe.coef_[0]), kind="stable")


METHODS: dict[str, Callable[[Words], NDArray[np.int64]]] = {
    "txray (AUROC, 128 bins)": by_histograms,
    "probeless": probeless,
    "IoU": intersection_over_union,
    "linear probe": linear_probe,
}
