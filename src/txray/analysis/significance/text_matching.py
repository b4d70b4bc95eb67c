"""Text matching: thin what two stages read to the same number of occurrences of every feature."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from txray.analysis.significance.downsampling import downsample
from txray.analysis.significance.fold_counts import FoldCounts
from txray.arrays import Ints


def text_matched(
    folds: FoldCounts, n: int, random: np.random.Generator, *, paired: bool = False
) -> Iterator[FoldCounts]:
    """Yield n random copies in which every feature occurs equally often in the texts of both stages.

    A neuron whose weights are unchanged seems to prefer other words if it reads other text. The occurrences of each
    feature are thinned to the smaller of both numbers, over the folds of the larger text (multivariate
    hypergeometric). Activations go with their occurrences: of n occurrences in a fold, w were selected for a neuron; if
    m are drawn, they contain a hypergeometric number of these. Means of activations stay the same.

    This holds for every selection, because none selects a neuron more than once per occurrence. If one word selects
    several neurons, they are thinned independently; tests of single neurons do not depend on that. Features that were
    selected more often than they occur, in tables made by hand, are thinned as if they had been selected always.

    If the stages have documents in common (`paired`), occurrences are removed only from folds in which the larger text
    has more of a feature than the smaller one. So folds that hold the same documents stay as they are, and one more
    document is thinned in its own fold, not in all of them.

    Args:
        folds: activations of both stages.
        n: number of copies.
        random: random generator.
        paired: whether folds of the same number hold documents in common.
    """
    text = folds.occurrences
    number = text.data.astype(np.int64)
    feature = np.repeat(np.arange(text.shape[0]), np.diff(text.indptr))
    side = (text.indices >= folds.folds).astype(np.int64)
    of_side = np.zeros((text.shape[0], 2), np.int64)
    np.add.at(of_side, (feature, side), number)
    fewer = of_side.min(axis=1)
    # At most one text has more occurrences of a feature; its cells ascend by feature, then by fold.
    more = np.flatnonzero((of_side > fewer[:, None])[feature, side])
    # The cell of `text` for every cell of `count`.
    pair = np.repeat(folds.feature, np.diff(folds.count.indptr))
    key = pair * text.shape[1] + folds.count.indices
    keys = feature * text.shape[1] + text.indices
    cell = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
    # Tables made by hand may lack the occurrences of what was selected; there is nothing to thin by.
    counted = keys[cell] == key
    wins = folds.count.data.astype(np.int64)
    if paired:
        # The same fold of the other stage.
        other = feature * text.shape[1] + (text.indices + folds.folds) % text.shape[1]
        excess, surplus = _excess(keys, other, number), of_side.max(axis=1) - fewer
        more = more[excess[more] > 0]
    for _ in range(n):
        drawn = number.copy()
        if paired:
            drawn[more] -= downsample(excess[more], feature[more], surplus, random)
        else:
            drawn[more] = downsample(number[more], feature[more], fewer, random)
        left = wins.copy()
        thinned = np.flatnonzero((drawn < number)[cell] & counted)
        among = cell[thinned]
        left[thinned] = random.hypergeometric(
            wins[thinned], np.maximum(number[among] - wins[thinned], 0), drawn[among]
        )
        occurrences = sp.csr_array((drawn.astype(np.float64), text.indices, text.indptr), shape=text.shape)
        yield folds.thinned(left.astype(np.float64), occurrences)


def _excess(keys: Ints, other: Ints, number: Ints) -> Ints:
    """Return (nnz,) by how much each number exceeds that of another cell, at least 0; `keys` ascend."""
    position = np.minimum(np.searchsorted(keys, other), max(len(keys) - 1, 0))
    return np.maximum(number - np.where(keys[position] == other, number[position], 0), 0)
