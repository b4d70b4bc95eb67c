"""Interaction of model and text: whether what a model changes in a neuron depends on the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from txray.analysis.significance.downsampling import downsample
from txray.analysis.significance.fold_counts import CELLS, FoldCounts
from txray.analysis.significance.rng import generator_for
from txray.analysis.significance.text_matching import text_matched
from txray.arrays import Bools, Floats, Ints
from txray.preferences.distributions import positions
from txray.preferences.grouped_stats import run_starts
from txray.preferences.preferences import Preferences

_SMALL = 1e-9
"""Shares closer than this to 0 or 1, and numbers relative to their size, are rounding errors."""


@dataclass(frozen=True, eq=False)
class TwoModels:
    """Activations that two models select on two texts.

    Attributes:
        first: of the model before: the sides are its two texts.
        second: of the model after, with the same (neuron, feature) pairs and features.
    """

    first: FoldCounts
    second: FoldCounts

    @classmethod
    def of(cls, stages: Sequence[Preferences]) -> TwoModels:
        """Align four stages: the model before on the first and the second text, then the model after on both."""
        folds = stages[0].folds
        names = sorted({name for stage in stages for name in stage.features.tolist()})
        of_feature = [positions(stage.features, names) for stage in stages]
        keys = [
            stage.neuron * max(len(names), 1) + feature[stage.feature_id]
            for stage, feature in zip(stages, of_feature, strict=True)
        ]
        pairs = np.unique(np.concatenate(keys))
        neuron, feature = np.divmod(pairs, max(len(names), 1))
        rows = [np.searchsorted(pairs, key) for key in keys]
        number, squares = np.zeros(len(pairs)), np.zeros(len(pairs))
        for row, stage in zip(rows, stages, strict=True):
            np.add.at(number, row, stage.count)
            np.add.at(squares, row, stage.sum_sq)

        def counts(first: int) -> FoldCounts:
            sides = [(stages[first + text], rows[first + text], text * folds) for text in (0, 1)]
            row, column = (
                np.concatenate(parts)
                for parts in ([row for _, row, _ in sides], [stage.fold + shift for stage, _, shift in sides])
            )
            # Row numbers as values, from 1 so that none is 0: sorted once, they order counts and sums.
            order = sp.csr_array((np.arange(1, len(row) + 1), (row, column)), shape=(len(pairs), 2 * folds))
            order.sort_indices()

            def matrix(name: str) -> Any:
                values = np.concatenate([getattr(stage, name) for stage, _, _ in sides]).astype(np.float64)
                return sp.csr_array((values[order.data - 1], order.indices, order.indptr), shape=order.shape)

            occurrences = np.zeros((len(names), 2 * folds))
            for text in (0, 1):
                occurrences[of_feature[first + text], text * folds : (text + 1) * folds] = stages[
                    first + text
                ].corpus_counts.T
            return FoldCounts(
                neuron,
                matrix("count"),
                matrix("sum"),
                stages[0].n_neurons,
                feature,
                sp.csr_array(occurrences),
                squares / number,
            )

        return cls(counts(0), counts(2))

    @property
    def folds(self) -> int:
        """Return the number of folds of a text."""
        return self.first.folds

    def subset(self, mask: Bools) -> TwoModels:
        """Return the pairs of the neurons of a (n_neurons,) mask only, under the same numbers."""
        return TwoModels(self.first.subset(mask), self.second.subset(mask))

    def diagonals(self, draws: int, seed: int) -> list[FoldCounts]:
        """Return random draws of what the interaction compares, at equal text and equal numbers of activations.

        Before: the first model on the first text and the second model on the second text. After: the second model on
        the first text and the first model on the second. Their difference is half the difference between what the model
        changes on the first and on the second text; whatever the model changes on both, or the text in both, is on both
        sides. Of each neuron, as many activations of all four stages are drawn, on texts that are matched.
        """
        random, texts = generator_for(seed, "interaction"), generator_for(seed, "texts")
        matched = zip(
            text_matched(self.first, draws, texts), text_matched(self.second, draws, texts), strict=True
        )
        result = []
        for models in matched:
            folds = self.folds
            wins = [model.wins() for model in models]
            fewest = np.min([win[:, part].sum(axis=1) for win in wins for part in _texts(folds)], axis=0)
            first, second = (_equal(model, fewest.astype(np.int64), random) for model in models)
            result.append(
                replace(
                    first,
                    **{
                        name: sp.csr_array(
                            sp.hstack(_crossed(getattr(first, name), getattr(second, name), folds))
                        )
                        for name in ("count", "sum", "occurrences")
                    },
                )
            )
        return result


def _texts(folds: int) -> tuple[slice, slice]:
    """Return the columns of the first and of the second text."""
    return slice(0, folds), slice(folds, 2 * folds)


def _crossed(first: Any, second: Any, folds: int) -> tuple[Any, Any]:
    """Return the two diagonals of two matrices of (first text, second text), each (n, folds)."""
    one, other = _texts(folds)
    return first[:, one] + second[:, other], second[:, one] + first[:, other]


def _equal(model: FoldCounts, size: Ints, random: np.random.Generator) -> FoldCounts:
    """Return a copy with (n_neurons,) `size` activations on each of both texts, drawn without replacement."""
    neuron = np.repeat(model.neuron, np.diff(model.count.indptr))
    drawn = model.count.data.copy()
    for side in (0, 1):
        # Cells ascend by neuron, then by feature and fold.
        cells = np.flatnonzero((model.count.indices >= model.folds) == side)
        drawn[cells] = downsample(model.count.data[cells].astype(np.int64), neuron[cells], size, random)
    return model.thinned(drawn)


def interaction_statistic(models: TwoModels, left: Floats) -> Floats:
    """Return how much what the second model changes differs between sets of folds and their complements.

    The two models read the same words, and per occurrence of a feature they select it at different rates; without an
    interaction, this difference is the same on both texts. So of all that the second model selects more often than the
    first, a set has a share pi, as of the occurrences of the feature; d is what it has beyond that. The statistic is

        sum_f (d_f^2 / V_f - pi_f (1 - pi_f)) / sqrt(sum_f (pi_f (1 - pi_f))^2)

    where V_f is the number of activations of both models, times the dispersion of the neuron: both models tend to
    select the same words, and words of one document depend on each other. Activations are weighted so that each feature
    counts as if it occurred equally often in both texts, and each model responded equally often on both: these are
    differences of the texts and of rates. What all features have in common is removed from d. The terms are centred and
    scaled so that sets of folds can be compared whose texts differ more or less. The statistic is computed from numbers
    of activations and from their sums; the larger of the two is returned. The first sees changes
    of how often features are selected, the second also changes of how strongly.

    Args:
        models: their activations on both texts.
        left: (2 * folds, n) 1 for folds of the set, 0 for the others; the first folds are those of the first text.

    Returns:
        (n_neurons, n); NaN for neurons without activations in any of the four stages, on features of both texts.
    """
    values = np.full((models.first.n_neurons, left.shape[1]), np.nan)
    starts = run_starts(models.first.neuron)
    if not len(starts):
        return values
    summing = models.first.summing(starts)
    occurrences = _Occurrences.of(models)
    tests = [
        _Differences.of(occurrences, *pair, summing)
        for pair in (
            (models.first.count, models.second.count),
            _scaled_sums(models),
        )
    ]
    rows = models.first.neuron[starts]
    at_once = max(1, CELLS // len(models.first.neuron))
    for start in range(0, left.shape[1], at_once):
        part = slice(start, start + at_once)
        share = occurrences.share(left[:, part])
        values[rows, part] = np.maximum(*(test.statistic(left[:, part], share) for test in tests))
    values[rows[~np.all([test.known for test in tests], axis=0)]] = np.nan
    return values


def _scaled_sums(models: TwoModels) -> tuple[Any, Any]:
    """Return the sums of activations of both models, divided by the mean activation of each pair.

    So that a strong feature does not count for more than as many activations of a weak one.
    """
    total, number = (
        sum(np.asarray(getattr(model, name).sum(axis=1)) for model in (models.first, models.second))
        for name in ("sum", "count")
    )
    # Activations of 0 may be selected; a feature with nothing else says nothing.
    scale = sp.diags_array(np.divide(number, total, out=np.zeros_like(total), where=total > 0))
    return sp.csr_array(scale @ models.first.sum), sp.csr_array(scale @ models.second.sum)


@dataclass(frozen=True, eq=False)
class _Occurrences:
    """Occurrences of the features of each pair, as if they occurred equally often in both texts.

    Attributes:
        weight: (n_pairs, 2) weight of an occurrence in each text; 0 where a feature is in one of them only.
        matrix: (n_features_in_use, 2 * folds) scipy CSR, weighted occurrences.
        total: (n_features_in_use,) their sum.
        row: (n_pairs,) row of each pair in `matrix`.
    """

    weight: Floats
    matrix: Any
    total: Floats
    row: Ints

    @classmethod
    def of(cls, models: TwoModels) -> _Occurrences:
        feature, row = np.unique(models.first.feature, return_inverse=True)
        # The same for both models, unless one of them cannot read some of the words.
        text = sp.csr_array((models.first.occurrences[feature] + models.second.occurrences[feature]) / 2)
        of_text = np.stack([np.asarray(text[:, part].sum(axis=1)) for part in _texts(models.folds)], axis=1)
        fewer = of_text.min(axis=1, keepdims=True)
        weight = np.divide(fewer, of_text, out=np.zeros_like(of_text), where=of_text > 0)
        matrix = _weighted(text, weight)
        return cls(weight[row], matrix, np.asarray(matrix.sum(axis=1)), row)

    def share(self, left: Floats) -> Floats:
        """Return (n_pairs, n) shares of sets of folds in the occurrences; 0 where there are none."""
        part = np.asarray(self.matrix @ left)
        total = self.total[:, None]
        return np.asarray(np.divide(part, total, out=np.zeros_like(part), where=total > 0)[self.row])


def _weighted(matrix: Any, weight: Floats) -> Any:
    """Return a (n, 2 * folds) matrix whose rows are multiplied by (n, 2) weights of both texts."""
    folds = matrix.shape[1] // 2
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    data = matrix.data * weight[row, (matrix.indices >= folds).astype(np.int64)]
    return sp.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)


@dataclass(frozen=True, eq=False)
class _Differences:
    """Differences between the models, less what they are on both texts together.

    Attributes:
        excess: (n_pairs, 2 * folds) scipy CSR, weighted activations of the second model less those of the first, less
            their mean per occurrence; rows sum to 0.
        variance: (n_pairs,) V of `interaction_statistic`.
        known: (n_rows,) whether a neuron has activations in all four stages.
        summing: (n_rows, n_pairs) sums pairs per neuron.
    """

    excess: Any
    variance: Floats
    known: Bools
    summing: Any

    @classmethod
    def of(cls, occurrences: _Occurrences, first: Any, second: Any, summing: Any) -> _Differences:
        folds = first.shape[1] // 2
        row = np.repeat(np.arange(summing.shape[0]), np.diff(summing.indptr))
        models = [_weighted(model, occurrences.weight) for model in (first, second)]
        wins = np.stack(
            [summing @ np.asarray(model[:, part].sum(axis=1)) for model in models for part in _texts(folds)],
            axis=1,
        )
        # (n_rows, 4): the model before on both texts, the model after on both: to equal totals.
        equal = np.divide(wins.mean(axis=1, keepdims=True), wins, out=np.zeros_like(wins), where=wins > 0)
        models = [
            _weighted(model, equal[row, 2 * number : 2 * number + 2]) for number, model in enumerate(models)
        ]
        difference = sp.csr_array(models[1] - models[0])
        per_occurrence = np.divide(
            np.asarray(difference.sum(axis=1)),
            occurrences.total[occurrences.row],
            out=np.zeros(len(row)),
            where=occurrences.total[occurrences.row] > 0,
        )
        expected = sp.diags_array(per_occurrence) @ occurrences.matrix[occurrences.row]
        excess = sp.csr_array(difference - expected)
        number = sum(np.asarray(model.sum(axis=1)) for model in models)
        excess.data[np.abs(excess.data) < _SMALL] = 0
        concentration = np.divide(
            np.asarray(occurrences.matrix.power(2).sum(axis=1)),
            np.square(occurrences.total),
            out=np.ones_like(occurrences.total),
            where=occurrences.total > 0,
        )[occurrences.row]
        observed = summing @ np.asarray(excess.power(2).sum(axis=1))
        independent = summing @ (number * (1 - concentration))
        dispersion = np.divide(observed, independent, out=np.zeros_like(observed), where=independent > _SMALL)
        return cls(excess, number * dispersion[row], np.asarray((wins > 0).all(axis=1)), summing)

    def statistic(self, left: Floats, share: Floats) -> Floats:
        """Return (n_rows, n) statistics of sets of folds with (n_pairs, n) shares of the occurrences."""
        spread = share * (1 - share)
        spread[(spread < _SMALL) | (self.variance[:, None] <= _SMALL)] = 0
        excess = np.asarray(self.excess @ left)
        # How often the models respond at all varies between folds; that is no interaction of preferences.
        weighted = self.variance[:, None] * spread
        whole = self.summing @ weighted
        overall = np.divide(self.summing @ excess, whole, out=np.zeros_like(whole), where=whole > 0)
        row = np.repeat(np.arange(len(overall)), np.diff(self.summing.indptr))
        terms = np.square(excess - weighted * overall[row])
        np.divide(terms, self.variance[:, None], out=terms, where=spread > 0)
        scale = np.sqrt(self.summing @ np.square(spread))
        centred = self.summing @ np.where(spread > 0, terms - spread, 0)
        return np.asarray(np.divide(centred, scale, out=np.zeros_like(centred), where=scale > 0))
