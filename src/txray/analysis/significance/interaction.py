"""Interaction of model and text: whether what a model changes in a neuron differs between two texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from scipy.stats import t as student

from txray.analysis.significance.fold_counts import CELLS
from txray.arrays import Bools, Floats, Ints
from txray.preferences.distributions import positions
from txray.preferences.grouped_stats import run_starts
from txray.preferences.preferences import Preferences

_SMALL = 1e-9
"""Shares closer than this to 0 or 1, and variances below this, are rounding errors."""

_TAIL = 0.025
"""Probability beyond each bound of an interval."""


@dataclass(frozen=True, eq=False)
class ModelWins:
    """What two models select on two texts: activations of each (neuron, feature), fold by fold.

    Only features that a neuron selects on both texts, in at least one of the models, are listed: the others say nothing
    about the difference. Columns 0 .. folds-1 are the folds of the first text, the others those of the second.

    Attributes:
        neuron: (n_pairs,) ascending.
        both: (n_pairs, 2 * folds) scipy CSR, activations of both models together.
        second: (n_pairs, 2 * folds) scipy CSR, those of the second model.
        n_neurons: number of neurons of the layer.
    """

    neuron: Ints
    both: Any
    second: Any
    n_neurons: int

    @classmethod
    def of(cls, stages: Sequence[Preferences], *, by: Literal["count", "sum"] = "count") -> ModelWins:
        """Count activations or, so that changes of their strength are seen as well, add them up.

        Sums are divided by the mean activation of each (neuron, feature), so that both are of the same size.

        Args:
            stages: the first model on the first and the second text, then the second model on both.
            by: `count` or `sum`.
        """
        folds = stages[0].folds
        names = sorted({name for stage in stages for name in stage.features.tolist()})
        key = np.concatenate(
            [
                stage.neuron * len(names) + positions(stage.features, names)[stage.feature_id]
                for stage in stages
            ]
        )
        column = np.concatenate([stage.fold + number % 2 * folds for number, stage in enumerate(stages)])
        count, value = (
            np.concatenate([np.asarray(getattr(stage, name), np.float64) for stage in stages])
            for name in ("count", by)
        )
        of_second = np.repeat([False, False, True, True], [len(stage.neuron) for stage in stages])
        pairs, row = np.unique(key, return_inverse=True)
        if by == "sum":
            # Activations of 0 may be selected; a feature with nothing else says nothing.
            of_pair = np.bincount(row, value, len(pairs))
            value = (
                value
                * np.divide(np.bincount(row, count), of_pair, out=np.zeros_like(of_pair), where=of_pair > 0)[
                    row
                ]
            )
        both, second = (
            sp.csr_array((value[rows], (row[rows], column[rows])), shape=(len(pairs), 2 * folds))
            for rows in (np.ones(len(row), np.bool_), of_second)
        )
        return cls(pairs // max(len(names), 1), both, second, stages[0].n_neurons)._on_both_texts()

    def _on_both_texts(self) -> ModelWins:
        texts = self.both[:, : self.folds], self.both[:, self.folds :]
        return self._rows(
            np.flatnonzero(np.all([np.asarray(text.sum(axis=1)) > 0 for text in texts], axis=0))
        )

    def _rows(self, rows: Ints) -> ModelWins:
        return replace(self, neuron=self.neuron[rows], both=self.both[rows], second=self.second[rows])

    @property
    def folds(self) -> int:
        """Return the number of folds of a text."""
        return int(self.both.shape[1]) // 2

    def of_texts(self) -> Floats:
        """Return (n_neurons, 2) activations of both models on the listed features, in each text."""
        texts = self.both[:, : self.folds], self.both[:, self.folds :]
        sums = [np.bincount(self.neuron, np.asarray(text.sum(axis=1)), self.n_neurons) for text in texts]
        return np.stack(sums, axis=1)

    def subset(self, mask: Bools) -> ModelWins:
        """Return the rows of the neurons of a (n_neurons,) mask only, under the same numbers."""
        return self._rows(np.flatnonzero(mask[self.neuron]))

    def without_fold(self, fold: int) -> ModelWins:
        """Return what is left without one fold of each text."""
        weight = np.ones(2 * self.folds)
        weight[[fold, fold + self.folds]] = 0
        both, second = (sp.csr_array(matrix @ sp.diags_array(weight)) for matrix in (self.both, self.second))
        return replace(self, both=both, second=second)._on_both_texts()


@dataclass(frozen=True, eq=False)
class TwoModels:
    """What two models select on two texts, as numbers and as sums of activations."""

    count: ModelWins
    sum: ModelWins

    @classmethod
    def of(cls, stages: Sequence[Preferences]) -> TwoModels:
        """Return both; see `ModelWins.of`."""
        return cls(ModelWins.of(stages), ModelWins.of(stages, by="sum"))

    @property
    def folds(self) -> int:
        """Return the number of folds of a text."""
        return self.count.folds

    def subset(self, mask: Bools) -> TwoModels:
        """Return those of the neurons of a (n_neurons,) mask only, under the same numbers."""
        return TwoModels(self.count.subset(mask), self.sum.subset(mask))


def interaction_statistic(models: TwoModels, left: Floats) -> Floats:
    """Return the larger `share_statistic` of numbers and of sums of activations.

    The first sees changes of how often features are selected, the second also changes of how strongly.
    """
    return np.fmax(share_statistic(models.count, left), share_statistic(models.sum, left))


def share_statistic(wins: ModelWins, left: Floats) -> Floats:
    """Return how much the second model's share of each feature differs between sets of folds and their complements.

    If a model changes a neuron in the same way on both texts, the second model has a constant share of the activations
    that both models select for a feature, whatever the text: how often the feature occurs, and how strongly its
    contexts drive the neuron, are the same for both models. One factor per text for the model as a whole is allowed. d
    is the number of the second model's activations in the set beyond that, pi the share of the set in the activations
    of both. The statistic is

        sum_f (d_f^2 / V_f - pi_f (1 - pi_f)) / sqrt(sum_f (pi_f (1 - pi_f))^2)

    where V_f is the variance of d_f / sqrt(pi_f (1 - pi_f)): that of independent activations, times the dispersion of
    the neuron, because both models read the same words, and words of one document depend on each other. Its mean is 0,
    and its variance constant, for any assignment of folds.

    Args:
        wins: of both models on both texts.
        left: (2 * folds, n) 1 for folds of the set, 0 for the others.

    Returns:
        (n_neurons, n); NaN for neurons with fewer than two features on both texts.
    """
    values = np.full((wins.n_neurons, left.shape[1]), np.nan)
    starts = run_starts(wins.neuron)
    if not len(starts):
        return values
    test = _Shares.of(wins, starts)
    at_once = max(1, CELLS // len(wins.neuron))
    for start in range(0, left.shape[1], at_once):
        part = slice(start, start + at_once)
        values[wins.neuron[starts], part] = test.statistic(left[:, part])
    few = np.diff(np.append(starts, len(wins.neuron))) < 2
    values[wins.neuron[starts][few]] = np.nan
    return values


@dataclass(frozen=True, eq=False)
class _Shares:
    """The sums over features that statistic and effect size need.

    Attributes:
        wins: of both models.
        total: (n_pairs,) activations of both models in all folds.
        excess: (n_pairs, 2 * folds) scipy CSR, activations of the second model less its share of those of both.
        variance: (n_pairs,) V of `share_statistic`.
        row: (n_pairs,) row of each pair's neuron among those that have pairs.
        summing: (n_rows, n_pairs) sums pairs per neuron.
    """

    wins: ModelWins
    total: Floats
    excess: Any
    variance: Floats
    row: Ints
    summing: Any

    @classmethod
    def of(cls, wins: ModelWins, starts: Ints) -> _Shares:
        ends = np.append(starts, len(wins.neuron))
        shape = len(starts), len(wins.neuron)
        summing = sp.csr_array((np.ones(shape[1]), np.arange(shape[1]), ends), shape=shape)
        row = np.repeat(np.arange(len(starts)), np.diff(ends))
        total = np.asarray(wins.both.sum(axis=1))
        share = np.asarray(wins.second.sum(axis=1)) / total
        # A share that is 1 but for rounding must leave no excess.
        share = np.where(np.abs(share - np.round(share)) < _SMALL, np.round(share), share)
        excess = sp.csr_array(wins.second - sp.diags_array(share) @ wins.both)
        excess.data[np.abs(excess.data) < _SMALL] = 0
        # The variance of a hypergeometric number, where activations are counted.
        independent = share * (1 - share) * np.square(total) / np.maximum(total - 1, 1)
        concentration = np.asarray(wins.both.power(2).sum(axis=1)) / np.square(total)
        observed = summing @ np.asarray(excess.power(2).sum(axis=1))
        expected = summing @ (independent * (1 - concentration))
        dispersion = np.divide(observed, expected, out=np.ones_like(observed), where=expected > _SMALL)
        return cls(wins, total, excess, independent * dispersion[row], row, summing)

    def deviations(self, left: Floats) -> tuple[Floats, Floats]:
        """Return (n_pairs, n) d, without one factor per text, and pi (1 - pi)."""
        share = np.asarray(self.wins.both @ left) / self.total[:, None]
        spread = share * (1 - share)
        spread[spread < _SMALL] = 0
        excess = np.asarray(self.excess @ left)
        weighted = self.variance[:, None] * spread
        whole = self.summing @ weighted
        overall = np.divide(self.summing @ excess, whole, out=np.zeros_like(whole), where=whole > _SMALL)
        return excess - weighted * overall[self.row], spread

    def statistic(self, left: Floats) -> Floats:
        """Return (n_rows, n) `share_statistic`."""
        excess, spread = self.deviations(left)
        varies = (self.variance[:, None] > _SMALL) & (spread > 0)
        terms = np.divide(np.square(excess), self.variance[:, None], out=np.zeros_like(excess), where=varies)
        spread = np.where(varies, spread, 0)
        scale = np.sqrt(self.summing @ np.square(spread))
        centred = self.summing @ (terms - spread)
        return np.asarray(np.divide(centred, scale, out=np.zeros_like(centred), where=scale > 0))

    def sums(self) -> tuple[Floats, Floats]:
        """Return (n_rows,) twice: numerator and denominator of the squared effect size of the observed texts."""
        folds = self.wins.folds
        excess, spread = (part[:, 0] for part in self.deviations(np.repeat([1.0, 0.0], folds)[:, None]))
        weighted = self.variance * spread
        whole = self.summing @ weighted
        # The factor per text is estimated from the same data, and takes up as much of the variance.
        leverage = np.divide(
            weighted, whole[self.row], out=np.zeros_like(weighted), where=whole[self.row] > _SMALL
        )
        beyond = np.square(excess) - weighted * (1 - leverage)
        effective = self.total * spread
        terms = np.divide(beyond, effective, out=np.zeros_like(beyond), where=effective > 0)
        return np.asarray(self.summing @ terms), np.asarray(self.summing @ effective)


@dataclass(frozen=True, eq=False)
class InteractionSize:
    """How much what a model changes differs between two texts: neurons of a layer, and the layer as a whole.

    The size is the root mean square, over the features that a neuron selects on both texts, of the difference between
    the texts of the second model's share of the activations. It is 0 if the model changes the neuron in the same way on
    both texts, and 1 if on one text only the first model selects each feature, and on the other only the second. The
    variance of the samples is subtracted, so that it is not larger for neurons with few activations.

    Attributes:
        size: (n_neurons,) in [0, 1]; NaN for neurons with fewer than two features on both texts.
        low, high: (n_neurons,) bounds of its 95% interval, from leaving out each fold in turn.
        layer, layer_low, layer_high: of all neurons together, weighted by their activations.
    """

    size: Floats
    low: Floats
    high: Floats
    layer: float
    layer_low: float
    layer_high: float

    @classmethod
    def of(cls, wins: ModelWins) -> InteractionSize:
        """Estimate sizes from the activations of both models."""
        parts = [_sums_of_neurons(wins)]
        used = np.flatnonzero(np.asarray(wins.both.sum(axis=0)).reshape(2, wins.folds).any(axis=0))
        parts += [_sums_of_neurons(wins.without_fold(fold)) for fold in used.tolist()]
        beyond, effective = (np.stack(part) for part in zip(*parts, strict=True))
        squared = _ratio(beyond, effective)
        of_layer = _ratio(np.nansum(beyond, axis=1), np.nansum(effective, axis=1))
        half, layer_half = _half_width(squared), _half_width(of_layer)
        return cls(
            _root(squared[0]),
            _root(squared[0] - half),
            _root(squared[0] + half),
            float(_root(of_layer[0])),
            float(_root(of_layer[0] - layer_half)),
            float(_root(of_layer[0] + layer_half)),
        )


def _sums_of_neurons(wins: ModelWins) -> tuple[Floats, Floats]:
    """Return (n_neurons,) sums of `_Shares.sums`; NaN for neurons with fewer than two features on both texts."""
    result = np.full((2, wins.n_neurons), np.nan)
    starts = run_starts(wins.neuron)
    if len(starts):
        result[:, wins.neuron[starts]] = _Shares.of(wins, starts).sums()
        few = np.diff(np.append(starts, len(wins.neuron))) < 2
        result[:, wins.neuron[starts][few]] = np.nan
    return result[0], result[1]


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Return quotients; NaN where there is nothing to divide by."""
    known = np.nan_to_num(denominator) > 0
    return np.asarray(np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=known))


def _half_width(squared: Floats) -> Floats:
    """Return (...) half the width of the 95% intervals, from (1 + n_folds, ...): the estimate, then without each fold.

    NaN where an estimate is missing, or there are fewer than three folds.
    """
    n = len(squared) - 1
    if n < 3:
        return np.full(squared.shape[1:], np.nan)
    without = squared[1:]
    variance = (n - 1) / n * np.square(without - without.mean(axis=0)).sum(axis=0)
    return np.asarray(student.ppf(1 - _TAIL, n - 1) * np.sqrt(variance))


def _root(squared: Floats) -> Floats:
    """Return the square root in [0, 1] of a square that may have left it by chance."""
    return np.sqrt(np.clip(squared, 0, 1))
