"""Compare the rankings on all-MiniLM-L6: agreement, what the top neurons are worth, and time; writes docs/ranking.md.

TXRAY_DATA names the folder with `ud-ewt` and `imdb`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import roc_auc_score

from benchmarks.evidence.__main__ import filled
from benchmarks.models import pretrained
from benchmarks.rankings.methods import METHODS, Words
from txray.capture.layers import hook_points_for
from txray.capture.selection import Selection
from txray.capture.source_for import source_for
from txray.capture.word_activations import DocumentBlock, read_block
from txray.corpus import read_corpus
from txray.corpus.document import Document

PAGE = Path(__file__).parents[2] / "docs" / "ranking.md"
LAYER = "encoder.layer.4.intermediate"
TAGS = ("NN", "VBZ", "JJ", "PRP$", "NNP")
WORDS = 10_000
REVIEWS = 150
TOP = 10
_SPLITS = 2
_RANDOM = 2
"""Random sets of neurons beside those of a ranking."""


def activations_of(documents: Sequence[Document]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the activations of the words that the model reads, and which of all words these are."""
    source = source_for(pretrained(), outputs=False)
    points = hook_points_for(source, [LAYER], Selection("all"))
    (layer,), _ = read_block(source, points, DocumentBlock.of(documents), 4_096)
    return layer.values[layer.covered].astype(np.float32), layer.covered


def tagged_words() -> dict[str, Words]:
    """Return the first 10,000 words of UD EWT, for each tag."""
    data = Path(os.environ["TXRAY_DATA"])
    documents = list(read_corpus("conllu", data / "ud-ewt", split="dev").take_words(WORDS))
    values, covered = activations_of(documents)
    tags = np.array([tag for document in documents for tag in document.annotations["pos"]])[covered]
    number = np.repeat(np.arange(len(documents)), [len(document.words) for document in documents])[covered]
    return {tag: Words(values, tags == tag, number) for tag in TAGS}


def sentiment_words() -> dict[str, Words]:
    """Return the first 120 words of 150 reviews of IMDB, with the label of the review."""
    documents = list(read_corpus("imdb", Path(os.environ["TXRAY_DATA"]) / "imdb", split="test"))
    chosen = np.random.default_rng(0).choice(len(documents), REVIEWS, replace=False)
    cut = [documents[i].cut(120) for i in chosen]
    values, covered = activations_of(cut)
    number = np.repeat(np.arange(len(cut)), [len(document.words) for document in cut])[covered]
    labels = np.array([document.labels["label"] == "pos" for document in cut])
    return {"sentiment (IMDB)": Words(values, labels[number], number)}


def split(words: Words, seed: int) -> tuple[Words, Words]:
    """Return two halves of the documents."""
    names = np.unique(words.document)
    first = np.random.default_rng(seed).permutation(names)[: len(names) // 2]
    rows = np.isin(words.document, first)
    halves = [
        Words(words.activations[mask], words.labels[mask], words.document[mask]) for mask in (rows, ~rows)
    ]
    return halves[0], halves[1]


def probe_score(train: Words, test: Words, neurons: NDArray[np.int64]) -> float:
    """Return the held-out AUROC of a ridge classifier of a few neurons."""
    mean, deviation = (
        train.activations[:, neurons].mean(axis=0),
        train.activations[:, neurons].std(axis=0) + 1e-9,
    )
    classifier = RidgeClassifier(alpha=10.0).fit(
        (train.activations[:, neurons] - mean) / deviation, train.labels
    )
    scores = classifier.decision_function((test.activations[:, neurons] - mean) / deviation)
    return float(roc_auc_score(test.labels, scores))


class WholeProbe:
    """A ridge classifier of all neurons, trained once; ablation gives neurons their mean, without retraining."""

    def __init__(self, train: Words, test: Words) -> None:
        mean, deviation = train.activations.mean(axis=0), train.activations.std(axis=0) + 1e-9
        classifier = RidgeClassifier(alpha=1000.0).fit((train.activations - mean) / deviation, train.labels)
        self._weights = classifier.coef_.ravel()
        self._test = (test.activations - mean) / deviation
        self._labels = test.labels
        self._scores = self._test @ self._weights

    def drop(self, removed: NDArray[np.int64]) -> float:
        """Return the loss of held-out AUROC by the ablation of some neurons."""
        ablated = self._scores - self._test[:, removed] @ self._weights[removed]
        return float(roc_auc_score(self._labels, self._scores) - roc_auc_score(self._labels, ablated))


def measured(concepts: dict[str, Words]) -> dict[str, NDArray[np.float64]]:
    """Return method -> (n_concepts * n_splits, 5): agreement, overlap with txray, worth, drop, seconds."""
    rows: dict[str, list[list[float]]] = {name: [] for name in (*METHODS, "random neurons")}
    for (name, words), seed in product(concepts.items(), range(_SPLITS)):
        train, test = split(words, seed)
        whole = WholeProbe(train, test)
        tops: dict[str, NDArray[np.int64]] = {}
        for method, rank in METHODS.items():
            started = time.process_time()
            tops[method] = rank(train)[:TOP]
            seconds = time.process_time() - started
            agreement = len(np.intersect1d(tops[method], rank(test)[:TOP])) / TOP
            overlap = len(np.intersect1d(tops[method], tops[next(iter(METHODS))])) / TOP
            worth, drop = probe_score(train, test, tops[method]), whole.drop(tops[method])
            rows[method].append([agreement, overlap, worth, drop, seconds])
        generator = np.random.default_rng(seed)
        sets = [generator.choice(words.activations.shape[1], TOP, replace=False) for _ in range(_RANDOM)]
        pairs = [(probe_score(train, test, s), whole.drop(s)) for s in sets]
        worth, drop = np.mean(pairs, axis=0)
        rows["random neurons"].append([np.nan, np.nan, worth, drop, np.nan])
        print(name, seed, {method: np.round(values[-1], 3) for method, values in rows.items()}, flush=True)
    return {method: np.array(values) for method, values in rows.items()}


def table(by_method: dict[str, NDArray[np.float64]]) -> str:
    """Return the lines of the table: means over concepts and splits, with 95% intervals over concepts."""
    lines = [
        "| ranking | same top 10 in the other half | top 10 shared with txray | held-out AUROC of 10 neurons | "
        "loss by ablation (AUROC) | seconds of CPU |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for method, values in by_method.items():
        cells = [_cell(values[:, column]) for column in range(4)]
        seconds = "–" if np.isnan(values[:, 4]).all() else f"{np.median(values[:, 4]):.2f}"
        lines.append(f"| {method} | {' | '.join(cells)} | {seconds} |")
    return "\n".join(lines)


def _cell(values: NDArray[np.float64]) -> str:
    if np.isnan(values).all():
        return "–"
    by_concept = values.reshape(-1, _SPLITS).mean(axis=1)
    if len(by_concept) == 1:
        return f"{values.mean():.3f} ({values.min():.3f} to {values.max():.3f})"
    generator = np.random.default_rng(0)
    means = by_concept[generator.integers(0, len(by_concept), (2_000, len(by_concept)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return f"{by_concept.mean():.3f} ({low:.3f} to {high:.3f})"


def main() -> None:
    """Measure both tables."""
    torch.set_num_threads(1)
    for name, concepts in (("tags", tagged_words()), ("sentiment", sentiment_words())):
        text = table(measured(concepts))
        print(text, flush=True)
        PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), name, text), encoding="utf-8")


if __name__ == "__main__":
    main()
