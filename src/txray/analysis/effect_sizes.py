"""How far neurons moved: Hellinger distances corrected for the size of the sample, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from txray.analysis.significance.fold_counts import FoldCounts
from txray.analysis.significance.rng import generator_for
from txray.analysis.significance.split_half import Halves, matched_draws, row_means, split_in_halves
from txray.arrays import Bools, Floats
from txray.preferences.preferences import Preferences, Weight

SMALLEST_OVERLAP = 0.05
"""Minimum overlap of the halves of a stage; below it, they say next to nothing about the distribution: no distance."""

_TAIL = 0.025
"""Probability beyond each bound of an interval."""


@dataclass(frozen=True, eq=False)
class EffectSize:
    """Corrected Hellinger distances of the neurons of a layer, and of the layer as a whole.

    Attributes:
        signal: (n_neurons,) cross-validated H^2: see `Halves.signal`.
        distance: (n_neurons,) in [0, 1]; NaN where it cannot be known.
        low, high: (n_neurons,) bounds of its 95% interval; NaN where it cannot be known, or was not asked for.
        standard_error: (n_neurons,) of the squared distance, with its bias; NaN as for `low`.
        squared: (n_neurons,) squared distance, below 0 where chance makes it so; NaN where it cannot be known.
        wins: (n_neurons,) selected activations of a stage.
        folds: number of folds with activations, from which the standard errors are.
        layer: distance of the layer, in [0, 1]: of all neurons together, each weighted by how well it is known.
        layer_low, layer_high: bounds of its 95% interval.
    """

    signal: Floats
    distance: Floats
    low: Floats
    high: Floats
    standard_error: Floats
    squared: Floats
    wins: Floats
    folds: int
    layer: float
    layer_low: float
    layer_high: float

    @classmethod
    def of(
        cls,
        draws: Sequence[FoldCounts],
        halves: Halves,
        splits: tuple[Floats, Floats],
        weight: Weight,
        *,
        intervals: bool = True,
    ) -> EffectSize:
        """Correct the overlap of two stages by the overlaps of their own halves.

        H^2 = 1 - between / sqrt(within_before * within_after). A half overlaps with another half of the *same* stage by
        less than 1 because both are samples; the overlap with the other stage is attenuated by as much, and the ratio
        is what is left without it. Intervals come from leaving out each fold in turn.

        Args:
            draws: the two stages at equal numbers of activations, differently thinned.
            halves: their overlaps, averaged over the draws.
            splits: (folds, n_splits) twice, the splits of `halves`.
            weight: what distributions normalise.
            intervals: whether to compute them; they take most of the time.

        Source:
            Spearman 1904 (correction for attenuation); Quenouille 1956 and Tukey 1958 (leaving out one at a time).
        """
        overlaps = _mean_overlaps(halves)
        squared, of_layer = _squared(*overlaps), _squared_of_layer(*overlaps)
        if intervals:
            error, layer_error, n = _standard_errors(draws[0], splits, weight)
        else:
            error, layer_error, n = np.full(len(squared), np.nan), np.array(np.nan), 0
        reach = float(student.ppf(1 - _TAIL, n - 1)) if n > 1 else np.nan
        half_width, layer_half_width = reach * error, reach * layer_error
        low, high = squared - half_width, squared + half_width
        # Where nothing overlaps, leaving out folds changes nothing; but with so few wins something may be missed.
        apart = overlaps[2] == 0
        wins = draws[0].wins().sum(axis=1) / 2
        low[apart] = np.minimum(low[apart], 1 - _largest_unseen_share(wins[apart]))
        return cls(
            halves.signal,
            _root(squared),
            _root(low),
            _root(high),
            error,
            squared,
            wins,
            n,
            float(_root(of_layer)),
            float(_root(of_layer - layer_half_width)),
            float(_root(of_layer + layer_half_width)),
        )

    def p_values(self, min_effect: float) -> Floats:
        """Return (n_neurons,) p-values of "the distance is at most `min_effect`"; NaN without an interval.

        Small where the distance is larger for sure. It is the test that the intervals invert: a neuron has a p-value
        below 2.5% if the lower bound of its 95% interval is above `min_effect`.

        Args:
            min_effect: distance H, 0 to 1.
        """
        limit = min_effect**2
        if self.folds < 3:
            return np.full(len(self.squared), np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            p_value = student.sf((self.squared - limit) / self.standard_error, self.folds - 1)
        # Where nothing overlaps, the probability that no activation falls into a remaining overlap of 1 - limit.
        apart = self.squared == 1
        p_value[apart] = np.fmax(p_value[apart], limit ** self.wins[apart])
        return np.asarray(p_value)


def effect_size(
    before: Preferences,
    after: Preferences,
    *,
    weight: Weight = "mean",
    splits: int = 16,
    draws: int = 10,
    seed: int = 0,
    intervals: bool = True,
) -> EffectSize:
    """Return how far neurons moved, at equal numbers of activations, without any test.

    Args:
        before, after: preferences of the same neurons, collected with the same number of folds, at least 2.
        weight: what distributions normalise.
        splits: number of random splits of the folds into halves.
        draws: number of random downsamplings to average.
        seed: random seed.
        intervals: whether to compute them; they take most of the time.

    Example:
        >>> sizes = effect_size(zero_shot.preferences(layer="rnn"), sup.preferences(layer="rnn"))
        >>> sizes.distance[13], sizes.low[13], sizes.high[13]
    """
    folds = FoldCounts.of(before, after)
    parts = split_in_halves(folds.folds, splits, generator_for(seed, "splits"))
    thinned = matched_draws(folds, draws, seed)
    return EffectSize.of(thinned, Halves.of(thinned, *parts, weight), parts, weight, intervals=intervals)


def _mean_overlaps(halves: Halves) -> tuple[Floats, Floats, Floats]:
    """Return (n_neurons,) three times: within_before, within_after and between, averaged over splits."""
    return row_means(halves.within_before), row_means(halves.within_after), row_means(halves.between)


def _squared(within_before: Floats, within_after: Floats, between: Floats) -> Floats:
    """Return corrected H^2 of each neuron, below 0 where chance makes it so; NaN where halves hardly overlap."""
    with np.errstate(divide="ignore", invalid="ignore"):
        squared = 1 - between / np.sqrt(within_before * within_after)
    return np.where(np.minimum(within_before, within_after) >= SMALLEST_OVERLAP, squared, np.nan)


def _squared_of_layer(within_before: Floats, within_after: Floats, between: Floats) -> Floats:
    """Return corrected H^2 of all neurons together, over the first axis.

    A ratio of sums, not a mean of ratios: neurons whose own halves hardly overlap would make that meaningless.
    """
    known = np.isfinite(between)
    # Neurons that are not known add nothing to either sum.
    overlap = np.where(known, between, 0).sum(axis=0)
    attainable = np.where(known, np.sqrt(within_before * within_after), 0).sum(axis=0)
    ratio = np.divide(overlap, attainable, out=np.full(overlap.shape, np.nan), where=attainable > 0)
    return np.asarray(1 - ratio)


def _standard_errors(
    draw: FoldCounts, splits: tuple[Floats, Floats], weight: Weight
) -> tuple[Floats, Floats, int]:
    """Return standard errors of H^2: (n_neurons,), and () of the layer, NaN where unknown; and the number of folds.

    Folds are left out one at a time, from both stages at once, so that it does not matter whether the stages read the
    same documents. The spread of the estimates gives their standard error, and the difference of their mean from the
    estimate from all folds gives the remaining bias. The bias widens the intervals of neurons, which would otherwise
    miss the truth too often for neurons with few wins. It does not widen that of the layer, to which such neurons add
    little.
    """
    first, second = splits
    n_splits = first.shape[1]
    used = np.flatnonzero(_folds_with_wins(draw))
    if len(used) < 3:
        return np.full(draw.n_neurons, np.nan), np.array(np.nan), len(used)
    # (folds, len(used) * n_splits): all splits without the first used fold, then without the second, ...
    keep = np.repeat(np.arange(len(first))[:, None] != used, n_splits, axis=1)
    halves = Halves.of([draw], np.tile(first, len(used)) * keep, np.tile(second, len(used)) * keep, weight)
    without = [
        np.stack([row_means(part) for part in np.split(overlaps, len(used), axis=1)], axis=1)
        for overlaps in (halves.within_before, halves.within_after, halves.between)
    ]
    whole = _mean_overlaps(Halves.of([draw], first, second, weight))
    of_neurons = _jackknife_error(_squared(*without), _squared(*whole))
    return of_neurons, _jackknife_error(_squared_of_layer(*without)), len(used)


def _jackknife_error(without: Floats, whole: Floats | None = None) -> Floats:
    """Return (...) standard errors.

    Args:
        without: (..., n_folds) estimates without one fold each.
        whole: (...) estimates from all folds, to add the bias.
    """
    n = without.shape[-1]
    centre = without.mean(axis=-1)
    # The jackknife: leaving out one of n shrinks deviations by n - 1.
    variance = (n - 1) / n * np.square(without - centre[..., None]).sum(axis=-1)
    bias = 0 if whole is None else (n - 1) * (centre - whole)
    return np.asarray(np.sqrt(variance + np.square(bias)))


def _folds_with_wins(draw: FoldCounts) -> Bools:
    """Return (folds,) whether any neuron has activations there, in either stage."""
    return np.asarray((draw.wins() > 0).any(axis=0).reshape(2, draw.folds).any(axis=0))


def _largest_unseen_share(wins: Floats) -> Floats:
    """Return the largest share of a distribution that this many activations can all miss, with a probability of 2.5%.

    Source:
        Clopper and Pearson 1934, for 0 successes.
    """
    return np.asarray(1 - _TAIL ** (1 / np.maximum(wins, 1)))


def _root(squared: Floats) -> Floats:
    """Return H in [0, 1] from H^2 that may have left it by chance."""
    return np.sqrt(np.clip(squared, 0, 1))
