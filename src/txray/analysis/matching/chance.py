"""P-values of matches: how often chance gives a neuron a counterpart at least as good among all candidates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from txray.arrays import Floats, Ints

_NEURONS = 50
"""Minimum number of neurons whose chance values are pooled."""

_ROUNDING = 1e-9
"""Rounding error of scores of size 1: a score this much below another one counts as equal."""

_MIN_VARIANCE = 1e-9
"""Lower limit of the variance of chance scores of size 1; a few draws may all give the same score."""


MIN_DRAWS = 20
"""Minimum number of draws of the null model: with fewer, means and standard deviations are too uncertain."""


@dataclass(frozen=True, eq=False)
class BestByChance:
    """The best score of each neuron among all candidates, in every draw of the null model.

    The best of many candidates is high even by chance, so a match is compared with the best of as many candidates, not
    with one chance pair.

    Attributes:
        before: per draw, (n_before,) best score of each neuron before with any neuron after.
        after: per draw, (n_after,) best score of each neuron after with any neuron before.
    """

    before: list[Floats]
    after: list[Floats]

    def add(self, score: Floats) -> None:
        """Add a draw: (n_before, n_after) scores by chance."""
        self.before.append(score.max(axis=1))
        self.after.append(score.max(axis=0))

    def p_values(self, row: Ints, column: Ints, score: Floats, lengths: tuple[Ints, Ints]) -> Floats:
        """Return the (n_pairs,) p-value of each pair, the larger of those of its two neurons.

        Args:
            row, column: (n_pairs,) neurons before and after, each in one pair at most.
            score: (n_pairs,) scores of the pairs.
            lengths: numbers of features of the neurons before and after; neurons of similar length are pooled.
        """
        sides = zip((self.before, self.after), (row, column), lengths, strict=True)
        return np.maximum(
            *(
                best_of_many(score, np.stack(best)[:, neurons], length[neurons])
                for best, neurons, length in sides
            )
        )

    def mean(self, row: Ints, column: Ints) -> Floats:
        """Return the (n_pairs,) mean best score by chance, the larger of those of the two neurons of a pair."""
        before, after = (np.stack(best).mean(axis=0) for best in (self.before, self.after))
        return np.asarray(np.maximum(before[row], after[column]))


def best_of_many(score: Floats, chance: Floats, length: Ints) -> Floats:
    """Return (n,) p-values of scores against the best scores by chance of the same neurons.

    A p-value as small as one in ten thousand would take as many draws per neuron. So each score is standardized by the
    mean and standard deviation of the neuron's own chance scores, and compared with the standardized chance scores of
    all neurons of about the same length, each left out of its own mean. Where a neuron's own chance scores reach its
    score more often than that, their share is the p-value: the chance scores of a neuron that prefers a single word
    are 0 or 1, which no mean and standard deviation describe.

    Args:
        score: (n,) scores of the neurons with their assigned counterparts.
        chance: (n_draws, n) best scores by chance; at least 3 draws.
        length: (n,) numbers of features.
    """
    draws = len(chance)
    total, squares = chance.sum(axis=0), (chance**2).sum(axis=0)
    z = _standardized(score, total / draws, squares / draws - (total / draws) ** 2)
    mean = (total - chance) / (draws - 1)
    z_chance = _standardized(chance, mean, (squares - chance**2) / (draws - 1) - mean**2)
    p_value = np.ones(len(score))
    for neurons in _groups(length):
        null = np.sort(z_chance[:, neurons], axis=None)
        reached = len(null) - np.searchsorted(null, z[neurons] - _ROUNDING, side="left")
        p_value[neurons] = (reached + 1) / (len(null) + 1)
    return np.asarray(np.maximum(p_value, (chance >= score - _ROUNDING).mean(axis=0)))


def _standardized(values: Floats, mean: Floats, variance: Floats) -> Floats:
    return np.asarray((values - mean) / np.sqrt(np.maximum(variance, _MIN_VARIANCE)))


def _groups(length: Ints) -> list[Ints]:
    """Return the indices of neurons of about the same length, in groups of at least `_NEURONS` where possible."""
    order = np.argsort(length, kind="stable")
    ordered = length[order]
    starts = [0]
    # A group ends where the length has doubled; a small remainder joins the last group.
    for start in np.flatnonzero(np.diff(ordered, prepend=-1)).tolist():
        if (
            start - starts[-1] >= _NEURONS
            and len(order) - start >= _NEURONS
            and ordered[start] >= 2 * ordered[starts[-1]]
        ):
            starts.append(start)
    return np.split(order, starts[1:]) if len(order) else []
