"""Changes of what a neuron selects that the growth or decline of another neuron explains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from txray.analysis.significance.fold_counts import FoldCounts
from txray.analysis.significance.permutation import Permutations, q_values
from txray.arrays import Bools, Floats, Ints
from txray.preferences.preferences import Preferences
from txray.preferences.runner_ups import RunnerUps, with_second_places

DISPLACEMENT_SCHEMA: dict[str, pl.DataType] = {
    "displaced_by": pl.Int64(),
    "displaced_share": pl.Float64(),
    "displaced_p_value": pl.Float64(),
    "displaced_q_value": pl.Float64(),
    "displaced_z_score": pl.Float64(),
}
"""Columns of a tested comparison; null where no other neuron grew or declined at the expense or to the benefit of a
neuron, or where runner-ups are not known."""

NO_RIVAL = -1


@dataclass(frozen=True, eq=False)
class Rivals:
    """For each neuron the one that took most of its words, or gave it most, and grew or declined more than itself.

    Attributes:
        neuron: (n_neurons,) int64 index of the rival, `NO_RIVAL` for none.
        share: (n_neurons,) change of the share that the rival takes of the words that the neuron would win without it,
            -1 to 1: above 0 if it takes more afterwards, below 0 if less; NaN without a rival.
    """

    neuron: Ints
    share: Floats

    @classmethod
    def of(cls, before: Preferences, after: Preferences, change: Floats, certain: Bools) -> Rivals:
        """Find the rivals.

        If a neuron wins less than before, its rival is one that took words, if there is any, and vice versa. Words
        behind a neuron can also become fewer because a third one took first place.

        The order is strict (a rival changes its rate more than the neuron), so that of two neurons at most one is the
        rival of the other: the one that grew displaces the many that lost a little, not the other way round.

        Args:
            before, after: preferences with runner-ups.
            change: (n_neurons,) change of the wins per word.
            certain: (n_neurons,) whether that is significant.
        """
        n = after.n_neurons
        taken = [_taken(side) for side in (before, after)]
        exchanged = (taken[1] / max(after.words, 1) - taken[0] / max(before.words, 1)).tocoo()
        winner, loser, rate = exchanged.row.astype(np.int64), exchanged.col.astype(np.int64), exchanged.data
        fits = certain[winner] & (np.sign(rate) == np.sign(change[winner])) & (rate != 0)
        fits &= np.abs(change[winner]) > np.abs(change[loser])
        winner, loser, rate = winner[fits], loser[fits], rate[fits]
        # What fits the neuron's own change first: it lost words, and the rival took some, or both the other way round.
        against = np.sign(rate) == np.sign(change[loser])
        order = np.lexsort((winner, -np.abs(rate), against, loser))
        loser, first = np.unique(loser[order], return_index=True)
        neuron = np.full(n, NO_RIVAL)
        neuron[loser] = winner[order][first]
        shares = []
        for side, words in zip((before, after), taken, strict=True):
            # Not words[rows, columns], which fails for no rows.
            own = words.tocoo()
            took = np.zeros(n)
            behind = own.row == neuron[own.col]
            took[own.col[behind]] = own.data[behind]
            took = took[loser]
            without = side.wins()[loser] + took
            shares.append(np.divide(took, without, out=np.zeros(len(loser)), where=without > 0))
        share = np.full(n, np.nan)
        share[loser] = shares[1] - shares[0]
        return cls(neuron, share)

    def where(self, mask: Bools) -> Rivals:
        """Return the rivals of the neurons of a mask only."""
        return Rivals(np.where(mask, self.neuron, NO_RIVAL), np.where(mask, self.share, np.nan))

    def taken(self, side: Preferences) -> Preferences:
        """Return preferences that hold, of each neuron with a rival, the words behind this rival only."""
        return with_second_places(side, np.zeros(len(side.neuron), bool), self._behind(side))

    def left_out(self, side: Preferences) -> Preferences:
        """Return what each neuron with a rival would have won if its rival were absent; the others win nothing."""
        return with_second_places(side, self.neuron[side.neuron] != NO_RIVAL, self._behind(side))

    def _behind(self, side: Preferences) -> RunnerUps:
        assert side.runner_ups is not None
        return side.runner_ups.where(self.neuron[side.runner_ups.neuron] == side.runner_ups.winner)


@dataclass(frozen=True)
class DisplacementTest:
    """The tests of a comparison, as far as displacement repeats them with other counts.

    Attributes:
        draws: from the counts of both stages to random downsamplings, as in the tests of the comparison.
        rates: from the counts of both stages to the p-values of the change of the win rates.
        permute: from downsamplings to the permutation test.
    """

    draws: Callable[[FoldCounts], list[FoldCounts]]
    rates: Callable[[FoldCounts], Floats]
    permute: Callable[[list[FoldCounts]], Permutations]

    def of(
        self, before: Preferences, after: Preferences, change: Floats, certain: Bools, candidates: Bools
    ) -> dict[str, Floats]:
        """Return the columns of `DISPLACEMENT_SCHEMA`.

        The rival of a neuron is the one that took most of its words or gave it most (`Rivals`). Both stages are
        selected again without the rival, and the test of change is repeated. For a neuron that is in use in one stage
        only, the test of its win rate is repeated, too, and the smaller of both p-values counts twice.

        Args:
            before, after: preferences of the two stages.
            change, certain: see `Rivals.of`.
            candidates: (n_neurons,) neurons to test.
        """
        columns = dict.fromkeys(DISPLACEMENT_SCHEMA, np.full(after.n_neurons, np.nan))
        if before.runner_ups is None or after.runner_ups is None:
            return columns
        rivals = Rivals.of(before, after, change, certain)
        columns["displaced_by"] = np.where(rivals.neuron == NO_RIVAL, np.nan, rivals.neuron)
        columns["displaced_share"] = rivals.share
        tested = rivals.where(candidates)
        if (tested.neuron != NO_RIVAL).any():
            folds = FoldCounts.of(*map(tested.left_out, (before, after)))
            permutations = self.permute(self.draws(folds))
            one_sided = (before.lengths() > 0) != (after.lengths() > 0)
            p_value = permutations.p_value
            # Neurons that could not be tested at all are not explained either: their p-value is missing.
            both = np.minimum(1, 2 * np.minimum(p_value, self.rates(folds)))
            p_value = np.where(one_sided, both, p_value)
            columns["displaced_p_value"], columns["displaced_q_value"] = p_value, q_values(p_value)
            columns["displaced_z_score"] = permutations.z_score
        return columns


def _taken(side: Preferences) -> Any:
    assert side.runner_ups is not None
    return side.runner_ups.counts(side.n_neurons)
