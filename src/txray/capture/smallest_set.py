"""The smallest set of neurons that together tell a concept from everything else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from scipy.stats import t as student
from torch import nn

from txray.activations.stored import StoredActivations
from txray.analysis.concepts.scores import auroc
from txray.arrays import Floats, Ints
from txray.capture.hook_point import ChunkActivations, HookPoint
from txray.capture.layers import hook_points_for
from txray.capture.loop import DocumentStream, run
from txray.capture.selection import Selection
from txray.capture.source_for import source_for
from txray.capture.text.words import ChunkWords
from txray.corpus.corpus import Corpus
from txray.errors import UnknownNameError, UsageError
from txray.models.text_model import TextModel
from txray.preferences.histograms import ConceptHistograms
from txray.preferences.output_tokens import OUTPUT
from txray.preferences.stage_like import StageLike, as_stage
from txray.text import plural

_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


@dataclass(frozen=True, eq=False)
class SmallestSet:
    """Neurons of one layer that mark a concept together.

    Attributes:
        layer: name of the layer.
        feature: the concept.
        share: share of the best result that the set reaches.
        neurons: the set, best neuron first.
        curve: polars, one row per size tried: neurons; auroc (mean over blocks of documents, each scored by what the
            other blocks say), with the bounds low and high of its 95% interval; null with fewer than two blocks.
    """

    layer: str
    feature: str
    share: float
    neurons: tuple[int, ...]
    curve: pl.DataFrame

    def __repr__(self) -> str:
        row = self.curve.filter(pl.col("neurons") == len(self.neurons)).row(0, named=True)
        return (
            f"SmallestSet({self.feature!r}, {self.layer!r}: {plural(len(self.neurons), 'neuron')}, held-out AUROC "
            f"{row['auroc']:.3f})"
        )


def smallest_set(
    stage: StageLike,
    model: nn.Module | TextModel | StoredActivations,
    corpus: Corpus,
    *,
    layer: str | None = None,
    feature_type: str = "pos",
    feature: str,
    share: float = 0.95,
    max_words: int | None = None,
    batch_positions: int = 16_384,
) -> SmallestSet:
    """Return the smallest set of the best neurons that reaches 95% of what more neurons reach, on held-out documents.

    Reads the text once more. A word is scored by the sum, over the neurons of a set, of how much more frequent the bin
    of its activation is in the concept than elsewhere (log-likelihood ratios, as in naive Bayes). Ranking and ratios
    come from the histograms of all *other* blocks of documents. Sizes are powers of 2; the set is the smallest whose
    AUROC above 0.5 is at least `share` of the largest.

    >>> corpus = txray.demo_corpus("reviews", words=2_000)
    >>> model = txray.models.language_model("gru", corpus, hidden=8)
    >>> stage = txray.collect(model, corpus, name="s", feature_types=["token", "pos"], concepts="pos")
    >>> txray.capture.smallest_set(stage, model, corpus, feature="NN").curve["neurons"].to_list()
    [1, 2, 4, 8]

    Args:
        stage: collected with these concepts from this model and corpus.
        model, corpus: as in `txray.collect`.
        layer: may be omitted if the stage has only one.
        feature_type, feature: the concept.
        share: of the largest AUROC above 0.5.
        max_words, batch_positions: as in `txray.collect`.

    Raises:
        UsageError: the stage has no such histograms, or no block of documents has words of the concept and others.
        UnknownNameError: no such layer or concept.
    """
    if not 0 < share <= 1:
        raise UsageError(f"smallest_set: share={share}; it must lie between 0 and 1, such as 0.95")
    opened = as_stage(stage)
    name = layer or opened.preferences(layer=layer, feature_type=opened.feature_types[0]).layer
    if (name, feature_type) not in opened.histograms:
        known = [f"{layer} {kind}" for layer, kind in opened.histograms]
        raise UnknownNameError.of(f"histogram of stage {opened.name!r}", f"{name} {feature_type}", known)
    histograms = opened.histograms[name, feature_type]
    if feature not in histograms.features.tolist():
        raise UnknownNameError.of(f"{feature_type} concept", feature, histograms.features.tolist())
    source = source_for(model, outputs=feature_type == OUTPUT, corpus=corpus)
    (point,) = hook_points_for(source, [name], Selection("all"))
    folds = opened.preferences(layer=name, feature_type=opened.feature_types[0]).folds
    scorer = _Scorer(point, histograms, feature, folds)
    stream = DocumentStream(
        corpus if max_words is None else corpus.take_words(max_words), source, tagged=False
    )
    run(source, stream, [scorer], batch_positions, f"smallest set of {feature}", max_words)
    curve = scorer.curve()
    gain = curve["auroc"].to_numpy() - 0.5
    size = int(curve["neurons"][int(np.argmax(gain >= share * gain.max()))])
    return SmallestSet(name, feature, share, tuple(scorer.overall[:size].tolist()), curve)


class _Scorer:
    """Scores words by sets of neurons chosen without their block of documents."""

    def __init__(
        self, hook_point: HookPoint, histograms: ConceptHistograms, feature: str, folds: int
    ) -> None:
        self.hook_point = hook_point
        self._feature, self._feature_type, self._folds = feature, histograms.feature_type, folds
        self._edges = histograms.edges
        index = histograms.features.tolist().index(feature)
        positive = histograms.counts[:, index].astype(np.float64)
        others = histograms.counts.sum(axis=1, dtype=np.float64) - positive
        self.sizes = [size for size in _SIZES if size <= histograms.n_neurons]
        self.overall = _best(positive.sum(axis=0), others.sum(axis=0))[: self.sizes[-1]]
        self._blocks = [
            _ratios(positive.sum(axis=0) - p, others.sum(axis=0) - n, self.sizes[-1])
            for p, n in zip(positive, others, strict=True)
        ]
        self._scores: list[list[Floats]] = [[] for _ in self._blocks]
        self._labels: list[list[NDArray[np.bool_]]] = [[] for _ in self._blocks]

    def update(self, activations: ChunkActivations) -> None:
        """Score the words of one chunk."""
        words = ChunkWords.of(activations.chunk, self._folds).where(activations.covered)
        labels = np.array([name == self._feature for name in words.features(self._feature_type)])
        block = words.fold % len(self._blocks)
        values = activations.raw_of_words().float()
        for number in np.unique(block).tolist():
            rows = np.flatnonzero(block == number)
            neurons, ratios = self._blocks[number]
            chosen = values[torch.from_numpy(rows).to(values.device)][
                :, torch.from_numpy(neurons).to(values.device)
            ]
            edges = torch.from_numpy(self._edges[neurons]).to(values.device)
            bins = torch.searchsorted(edges, chosen.T.contiguous(), right=True).cpu().numpy()
            totals = np.cumsum(np.take_along_axis(ratios, bins, axis=1), axis=0)
            self._scores[number].append(totals[np.array(self.sizes) - 1])
            self._labels[number].append(labels[rows])

    def curve(self) -> pl.DataFrame:
        """Return the held-out AUROC of each size."""
        by_block = []
        for scores, labels in zip(self._scores, self._labels, strict=True):
            label = np.concatenate([np.zeros(0, np.bool_), *labels])
            if label.any() and not label.all():
                by_block.append([_area(row, label) for row in np.concatenate(scores, axis=1)])
        if not by_block:
            raise UsageError(
                f"smallest_set: no block of documents has words of {self._feature!r} and others; read more text"
            )
        values = np.array(by_block)
        mean, k = values.mean(axis=0), len(values)
        half_width = np.full(len(mean), np.nan)
        if k > 1:
            half_width = student.ppf(0.975, k - 1) * values.std(axis=0, ddof=1) / np.sqrt(k)
        return pl.DataFrame(
            {"neurons": self.sizes, "auroc": mean, "low": mean - half_width, "high": mean + half_width}
        ).with_columns(pl.col("low", "high").fill_nan(None))


def _best(positive: Floats, others: Floats) -> Ints:
    """Return the neurons by max(AUROC, 1 - AUROC), best first."""
    area = np.nan_to_num(auroc(positive, others), nan=0.5)
    return np.argsort(-np.abs(area - 0.5), kind="stable")


def _ratios(positive: Floats, others: Floats, n_neurons: int) -> tuple[Ints, Floats]:
    """Return the best neurons, and (n_neurons, bins) the log-likelihood ratio of each of their bins.

    Half a word is added to each bin in proportion to all words, so that an empty bin says nothing.
    """
    neurons = _best(positive, others)[:n_neurons]
    p, n = positive[neurons], others[neurons]
    total = (p + n) / np.maximum((p + n).sum(axis=1, keepdims=True), 1) + 1e-9
    weight = p.shape[1] / 2
    ratio = np.log((p + weight * total) / (p.sum(axis=1, keepdims=True) + weight)) - np.log(
        (n + weight * total) / (n.sum(axis=1, keepdims=True) + weight)
    )
    return neurons, ratio


def _area(scores: Floats, labels: NDArray[np.bool_]) -> float:
    """Return the exact area under the ROC curve of scores."""
    n = int(labels.sum())
    return float((rankdata(scores)[labels].sum() - n * (n + 1) / 2) / (n * (len(labels) - n)))
