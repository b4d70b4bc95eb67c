"""Share of permuted synthetic neurons that matching recovers, and its cost."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from benchmarks.evidence.synthetic_pair import stages
from benchmarks.evidence.tables import Table, percent, ratio
from txray import Stage, compare, match, synthetic_pair
from txray.preferences.distributions import aligned

WORDS = (100_000, 400_000)
_MORE = 4_000_000
"""Words in which nearly every one of 1,500 neurons wins a hundred."""
_LENGTHS = ((3, 300), (1, 60))
_MIN_WINS = 20


def measured() -> Table:
    """Return the shares of neurons that are recovered."""
    rows = [_row(lengths, words) for lengths in _LENGTHS for words in WORDS]
    rows.insert(len(WORDS), _row(_LENGTHS[0], _MORE))
    columns = [
        "lengths",
        "words",
        f"neurons with {_MIN_WINS} wins on both sides",
        "lowest affinity of a match",
        "pairs that match",
        "correct matches",
        "recovered, of all 1,500",
        f"recovered, of those with {_MIN_WINS} wins",
        "recovered, of those with 100 wins",
        f"correctly assigned, before the test, of those with {_MIN_WINS} wins",
    ]
    return Table(columns, rows)


def _row(lengths: tuple[int, int], words: int) -> list[str]:
    pair = synthetic_pair(
        1500, lengths=lengths, changed=0, vanished=0, appeared=0, rarer=0, moved=1.0, seed=1
    )
    before, after = stages(pair, words, 1, same=True)
    matching = match(before, after, min_wins=_MIN_WINS)
    moved = pair.truth["neuron_after"].to_numpy()
    wins = np.minimum(before.preferences().wins(), after.preferences().wins()[moved])
    pairs = matching.pairs.filter(pl.col("state") == "matched")
    right = moved[pairs["before"].to_numpy()] == pairs["after"].to_numpy()
    correct = np.zeros(len(moved), bool)
    correct[pairs["before"].to_numpy()[right]] = True
    return [
        f"{lengths[0]} to {lengths[1]}",
        f"{words:,}",
        f"{(wins >= _MIN_WINS).sum():,}",
        f"{pairs['affinity'].min() or 0.0:.2f}",
        percent(matching.matched_share),
        percent(ratio(right.sum(), len(right))),
        percent(float(correct.mean())),
        percent(float(correct[wins >= _MIN_WINS].mean())),
        percent(float(correct[wins >= 100].mean())),
        percent(float(_assigned(before, after, moved)[wins >= _MIN_WINS].mean())),
    ]


def _assigned(before: Stage, after: Stage, moved: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return an (n_neurons,) mask of the neurons that are assigned to themselves, whether they match or not."""
    sides = [stage.preferences() for stage in (before, after)]
    p, q = aligned(*(side.distributions() for side in sides))
    rows, columns = (np.flatnonzero(side.wins() >= _MIN_WINS) for side in sides)
    affinity = (p.matrix.sqrt() @ q.matrix.sqrt().T).toarray()[np.ix_(rows, columns)]
    row, column = linear_sum_assignment(affinity, maximize=True)
    correct = np.zeros(len(moved), bool)
    correct[rows[row]] = moved[rows[row]] == columns[column]
    return correct


def costs() -> Table:
    """Return the processor seconds of the statistics, from stages in memory."""
    rows = []
    for n_neurons in (300, 1500):
        pair = synthetic_pair(n_neurons, seed=1)
        for words in WORDS:
            before, after = stages(pair, words, 1, same=True)
            rows.append(
                [
                    f"{n_neurons:,}",
                    f"{words:,}",
                    f"{_seconds(lambda b=before, a=after: compare(b, a, permutations=0)):.2f}",
                    f"{_seconds(lambda b=before, a=after: compare(b, a)):.1f}",
                    f"{_seconds(lambda b=before, a=after: match(b, a)):.1f}",
                ]
            )
    return Table(["neurons", "words", "`compare` without tests", "`compare`", "`match`"], rows)


def _seconds(work: Callable[[], object]) -> float:
    """Return the processor time of one call on one thread, the faster of two runs."""
    times = []
    for _ in range(2):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)
