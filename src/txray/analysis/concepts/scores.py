"""How well single neurons tell a concept from everything else, computed from histograms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from txray.arrays import Floats, Ints
from txray.preferences.histograms import Counts

_TAIL = 0.025
"""Probability beyond each bound of an interval."""

N_CONTROLS = 10
"""Random control concepts per concept."""


def auroc(positive: NDArray[np.floating], negative: NDArray[np.floating]) -> Floats:
    """Return (...,) the area under the ROC curve of (..., bins) counts; NaN without words on a side.

    It is the probability that a word of the concept has a higher activation than another word; words in the same bin
    count half.
    """
    n_positive, n_negative = positive.sum(axis=-1), negative.sum(axis=-1)
    # Of each positive: the negatives in lower bins, and half of those in its own.
    below = np.cumsum(negative, axis=-1) - negative / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.einsum("...b,...b->...", positive, below) / (n_positive * n_negative))


def average_precision(positive: Floats, negative: Floats, *, high: bool) -> Floats:
    """Return (n_neurons,) the average precision of (n_neurons, bins) counts, by high or by low activations."""
    order = slice(None, None, -1 if high else 1)
    hits = np.cumsum(positive[:, order], axis=1)
    precision = hits / np.maximum(hits + np.cumsum(negative[:, order], axis=1), 1)
    return np.asarray((positive[:, order] * precision).sum(axis=1) / positive.sum(axis=1))


@dataclass(frozen=True, eq=False)
class ConceptScores:
    """Scores of each neuron of a layer for telling one concept from everything else.

    Attributes:
        words: number of words of the concept.
        auroc: (n_neurons,) area under the ROC curve of high activations; below 0.5 if the concept has low ones.
        low, high: (n_neurons,) bounds of its 95% interval over documents; NaN if all words are in one block of folds.
        precision: (n_neurons,) average precision, of low activations where `auroc` is below 0.5.
        control: (n_neurons,) mean of max(AUROC, 1 - AUROC) for random concepts of about as many words.
        p_value: (n_neurons,) of an AUROC of 0.5; NaN like the bounds.
        left_out: (blocks, n_neurons) AUROC without each block of folds; NaN for a block without words.
    """

    words: int
    auroc: Floats
    low: Floats
    high: Floats
    precision: Floats
    control: Floats
    p_value: Floats
    left_out: Floats

    @classmethod
    def of(
        cls, positive: Counts, others: Counts, controls: Counts, random: np.random.Generator
    ) -> ConceptScores:
        """Score the neurons of a layer.

        Args:
            positive, others: (blocks, n_neurons, bins) counts of the words of the concept, and of all others.
            controls: (groups, n_neurons, bins) counts of random groups of words.
            random: draws the control concepts.
        """
        p, n = (counts.sum(axis=0, dtype=np.float64) for counts in (positive, others))
        area = auroc(p, n)
        left_out = np.stack([auroc(p - p_k, n - n_k) for p_k, n_k in zip(positive, others, strict=True)])
        used = (positive[:, 0].sum(axis=-1) > 0) | (others[:, 0].sum(axis=-1) > 0)
        left_out[~used] = np.nan
        error, k = jackknife_error(left_out)
        half_width = student.ppf(1 - _TAIL, max(k - 1, 1)) * error
        n_words, n_others = int(p[0].sum()), int(n[0].sum())
        # A concept of a few words may score alike in every block by chance: the error is at least that of ranks.
        of_ranks = np.sqrt((n_words + n_others + 1) / (12.0 * max(n_words * n_others, 1)))
        statistic = (area - 0.5) / np.maximum(error, of_ranks)
        return cls(
            words=n_words,
            auroc=area,
            low=np.maximum(area - half_width, 0),
            high=np.minimum(area + half_width, 1),
            precision=np.where(
                area >= 0.5, average_precision(p, n, high=True), average_precision(p, n, high=False)
            ),
            control=control_strength(p + n, controls, n_words, random),
            p_value=np.asarray(2 * student.sf(np.abs(statistic), max(k - 1, 1))),
            left_out=left_out,
        )


def jackknife_error(left_out: Floats) -> tuple[Floats, int]:
    """Return (n,) standard errors from (blocks, n) values without each block, and the number of blocks used.

    NaN with fewer than two blocks, or where the rest of the text lacks the concept.

    Source:
        Quenouille 1956 and Tukey 1958 (leaving out one at a time).
    """
    used = ~np.isnan(left_out).all(axis=1)
    values = left_out[used]
    k = len(values)
    if k < 2:
        return np.full(left_out.shape[1], np.nan), k
    return np.sqrt((k - 1) / k * ((values - values.mean(axis=0)) ** 2).sum(axis=0)), k


def control_strength(total: Floats, controls: Counts, n_words: int, random: np.random.Generator) -> Floats:
    """Return (n_neurons,) the mean of max(AUROC, 1 - AUROC) for random concepts: unions of random groups of words.

    A group holds all occurrences of a word form (or whole documents), as a tag mostly does; the union has about as many
    words as the concept, at least one group.

    Args:
        total: (n_neurons, bins) counts of all words.
        controls: (groups, n_neurons, bins) those of each group.
        n_words: of the concept.
        random: draws the unions.

    Source:
        Hewitt and Liang 2019 (control tasks).
    """
    sizes = controls[:, 0].sum(axis=-1).astype(np.int64)
    groups = np.flatnonzero(sizes)
    chosen = np.stack([_union(sizes, random.permutation(groups), n_words) for _ in range(N_CONTROLS)])
    flat = controls[groups].reshape(len(groups), -1).astype(np.float32)
    # Exact: counts below 2^24.
    drawn = (chosen[:, groups].astype(np.float32) @ flat).reshape(N_CONTROLS, *total.shape)
    area = auroc(drawn.astype(np.float64), np.maximum(total - drawn, 0))
    return np.asarray(np.maximum(area, 1 - area).mean(axis=0))


def _union(sizes: Ints, order: Ints, n_words: int) -> NDArray[np.bool_]:
    """Return (groups,) which groups to unite: those first in the order, until they have closest to `n_words` words."""
    cumulative = np.cumsum(sizes[order])
    n_groups = 1 + int(np.argmin(np.abs(cumulative[: max(len(order) - 1, 1)] - n_words)))
    chosen = np.zeros(len(sizes), np.bool_)
    chosen[order[:n_groups]] = True
    return chosen
