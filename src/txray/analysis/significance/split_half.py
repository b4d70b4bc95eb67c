"""Overlaps between halves of two stages, whose sampling errors are independent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from txray.analysis.significance.fold_counts import FoldCounts
from txray.analysis.significance.rng import generator_for
from txray.analysis.significance.text_matching import text_matched
from txray.arrays import Floats
from txray.preferences.preferences import Weight


@dataclass(frozen=True, eq=False)
class Halves:
    """Overlaps (Bhattacharyya coefficients, 1 - H^2) between halves of the folds of two stages, split by split.

    All are NaN where any of the four halves has no activations, so that the three can be compared.

    Attributes:
        within_before: (n_neurons, n_splits) overlap of the two halves of the stage before, in [0, 1].
        within_after: overlap of the two halves of the stage after.
        between: (n_neurons, n_splits) overlap of a half of one stage with the opposite half of the other, the mean of
            both ways round. Opposite halves share no documents, even where the stages do.
        noise_floor: (n_neurons,) mean distance H between halves of one stage: what to
            expect of samples of this size if nothing changed.
        distance: (n_neurons,) mean distance H between opposite halves of the two stages, to compare with it.
    """

    within_before: Floats
    within_after: Floats
    between: Floats
    noise_floor: Floats
    distance: Floats

    @classmethod
    def of(cls, draws: Sequence[FoldCounts], first: Floats, second: Floats, weight: Weight) -> Halves:
        """Split both stages in the same way.

        Args:
            draws: random downsamplings of the same two stages; divergences are averaged over them.
            first, second: (folds, n_splits) 1 where a fold belongs to that half.
            weight: what distributions normalise.
        """
        nothing = np.zeros_like(first)
        # The two halves of the stage before, then of the stage after.
        choices = [
            np.concatenate(sides)
            for sides in ((first, nothing), (second, nothing), (nothing, first), (nothing, second))
        ]
        pairs = ((0, 1), (2, 3), (0, 3), (2, 1))
        squared = np.mean([draw.divergences(choices, pairs, weight) for draw in draws], axis=0)
        noise_floor, distance = _mean_distance(squared[:2]), _mean_distance(squared[2:])
        # Any missing half makes a sum over all four NaN: then the split counts for none of the overlaps.
        squared = np.where(np.isfinite(squared.sum(axis=0)), squared, np.nan)
        return cls(1 - squared[0], 1 - squared[1], 1 - squared[2:].mean(axis=0), noise_floor, distance)

    @property
    def signal(self) -> Floats:
        """Return (n_neurons,) cross-validated H^2, the mean over splits; NaN where every split has an empty half.

        1/2 sum_f (sqrt p1_f - sqrt q1_f)(sqrt p2_f - sqrt q2_f), where 1 and 2 are halves. It is 0 on average
        if nothing changed: for ranking and testing. It is not an effect size, because overlaps of samples are smaller
        than those of the populations.
        """
        # The product of differences, multiplied out into overlaps.
        return row_means((self.within_before + self.within_after) / 2 - self.between)


def matched_draws(
    folds: FoldCounts, draws: int, seed: int, *, match_text: bool = False, paired: bool = False
) -> list[FoldCounts]:
    """Return random downsamplings of two stages to equal numbers of activations.

    Args:
        folds: activations of both stages.
        draws: number of downsamplings.
        seed: random seed.
        match_text: whether to thin both texts first, to equal numbers of occurrences of each feature.
        paired: whether the stages have documents in common, see `text_matched`.
    """
    random = generator_for(seed, "draws")
    texts = (
        text_matched(folds, draws, generator_for(seed, "texts"), paired=paired)
        if match_text
        else repeat(folds, draws)
    )
    return [text.downsampled(random, keep_equal=match_text and paired) for text in texts]


def split_in_halves(folds: int, n: int, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Return (folds, n) twice: n random splits of at least two folds into two halves, 1 where a fold belongs to it."""
    order = np.argsort(np.argsort(random.random((folds, n)), axis=0), axis=0)
    first = (order < folds // 2).astype(np.float64)
    return first, 1 - first


def _mean_distance(squared: Floats) -> Floats:
    """Return (n_neurons,) mean H over both rows and all splits that have one, from (2, n_neurons, n_splits) of H^2."""
    return row_means(np.sqrt(np.concatenate(list(squared), axis=1)))


def row_means(values: Floats) -> Floats:
    """Return (n,) means of the numbers in each row; NaN where there are none."""
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(axis=1)
    return np.asarray(
        np.divide(total, known.sum(axis=1), out=np.full(len(total), np.nan), where=known.any(axis=1))
    )
