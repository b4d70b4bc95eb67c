"""Names of neurons (their most distinctive features), and whether they predict the wins on other documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from txray.arrays import Bools, Floats, Ints
from txray.hashing import GOLDEN_GAMMA, splitmix64
from txray.preferences.lift import lift_of

if TYPE_CHECKING:
    from txray.preferences.preferences import Preferences

NAME_WORDS = 4
"""Features in a name."""
RANDOM_NAMES = 99
"""Random names that each name is compared with: the smallest p-value is 0.01."""
P_VALUE = 0.05
"""A name is stable if fewer random names than this share predict the wins as well."""
NO_STABLE_PREFERENCE = "no stable preference"
TOO_FEW_WINS = "too few wins to tell"
MIN_WINS = 20
"""With fewer wins, a name that is not better than random names may be true all the same."""
_ALIKE = 1.5
"""Features are as frequent as another if their counts differ by at most this factor ..."""
_NEAREST = 10
"""... or if they are among so many neighbours on either side in the order of frequency."""
_CELLS = 1 << 21


@dataclass(frozen=True, eq=False)
class NameScores:
    """Scores of the names of some neurons: how well they predict their wins on documents that were not used for naming.

    Attributes:
        neuron: (n,) neurons.
        wins: (n,) selected activations of all documents.
        precision: (n,) share of the occurrences of a name's features that the neuron wins.
        recall: (n,) share of the neuron's wins that are on features of its name.
        f1: (n,) harmonic mean of the two.
        auroc: (n,) area under the ROC curve of the predictor "one of the features occurs", which is the mean of recall
            and specificity; 0.5 by chance.
        random_f1, random_auroc: (n, names) of random names of as frequent features.
        p_value: (n,) share of the random names that have at least the same AUROC, the name included; NaN if there are
            no wins to predict.
        split: whether there are folds for naming and others for scoring.
    """

    neuron: Ints
    wins: Ints
    precision: Floats
    recall: Floats
    f1: Floats
    auroc: Floats
    random_f1: Floats
    random_auroc: Floats
    p_value: Floats
    split: bool

    @property
    def stable(self) -> Bools:
        """Return (n,) whether the name predicts the wins better than 95% of random names."""
        return np.asarray(self.p_value <= P_VALUE)

    @property
    def notes(self) -> list[str]:
        """Return, for each neuron, what to show in place of a name that does not hold; empty where the name stays.

        Names of neurons that are not in use, and of stages with a single fold, are not scored, and stay.
        """
        keep = self.stable | (self.wins == 0) | (not self.split)
        few = (self.wins < MIN_WINS) | ~np.isfinite(self.p_value)
        notes = np.select([keep, few], ["", TOO_FEW_WINS], default=NO_STABLE_PREFERENCE)
        return [str(note) for note in notes]

    @property
    def facts(self) -> list[str]:
        """Return, for each neuron, the note and the score of its name; empty where it cannot be scored."""
        random_auroc = self.random_auroc.mean(axis=1)
        return [
            f"{f'{note}; ' if note else ''}AUROC {auroc:.2f} for its wins, {random:.2f} for random words"
            if np.isfinite(p_value)
            else ""
            for note, auroc, random, p_value in zip(
                self.notes, self.auroc, random_auroc, self.p_value, strict=True
            )
        ]

    def table(self, preferences: Preferences, *, words: int) -> pl.DataFrame:
        """Return one row per neuron; see `Preferences.names`."""
        random_f1, random_auroc = (
            values.mean(axis=1) if values.shape[1] else np.full(len(values), np.nan)
            for values in (self.random_f1, self.random_auroc)
        )
        q_value = np.full(len(self.p_value), np.nan)
        known = np.isfinite(self.p_value)
        if known.any():
            q_value[known] = false_discovery_control(self.p_value[known])
        names = chosen_names(preferences, words)
        columns = {
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "f1_random": random_f1,
            "auroc": self.auroc,
            "auroc_random": random_auroc,
            "p_value": self.p_value,
            "q_value": q_value,
        }
        return pl.DataFrame(
            {
                "neuron": self.neuron,
                "name": pl.Series(
                    [names[neuron] for neuron in self.neuron.tolist()], dtype=pl.List(pl.String)
                ),
                "wins": self.wins,
                **{name: pl.Series(values).fill_nan(None) for name, values in columns.items()},
                "verdict": pl.Series(
                    [
                        (note or "stable") if self.split and wins else None
                        for note, wins in zip(self.notes, self.wins.tolist(), strict=True)
                    ],
                    dtype=pl.String,
                ),
            }
        )


def name_scores(
    preferences: Preferences,
    neurons: Sequence[int] | Ints | None = None,
    *,
    words: int = NAME_WORDS,
    random_names: int = RANDOM_NAMES,
    seed: int = 0,
) -> NameScores:
    """Score the names of neurons on documents that were not used for naming.

    The features of highest lift (above 1) on the even folds are the name, and predict which words of the odd folds the
    neuron wins. (A cross-validation, in which every fold is predicted once, would score more wins, but its p-values
    are too small: names and wins of its parts depend on one another.) A random name has, for every feature of the name,
    one that is about as frequent: their counts differ by a factor of at most 1.5, or they are among the ten next in
    frequency.

    Args:
        preferences: of one layer and feature type.
        neurons: numbers of neurons; all by default.
        words: features in a name.
        random_names: number of random names per neuron.
        seed: random seed.
    """
    numbers = np.arange(preferences.n_neurons) if neurons is None else np.asarray(neurons, np.int64)
    split = _Split(preferences, words)
    hits, occurrences = split.count(numbers, 1 + random_names, seed)
    positions, won = float(split.occurrences.sum()), split.won[numbers][:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = hits / won
        precision = hits / occurrences
        specificity = 1 - (occurrences - hits) / (positions - won)
        f1, auroc = 2 * hits / (won + occurrences), (recall + specificity) / 2
        # The name itself counts as one of the draws, so that a p-value is never 0 (Phipson and Smyth 2010). AUROCs of
        # equal hits and occurrences are equal to the bit, because they come from the same operations.
        p_value = (auroc >= auroc[:, :1]).mean(axis=1)
    p_value[~np.isfinite(auroc[:, 0])] = np.nan
    return NameScores(
        numbers,
        preferences.wins()[numbers],
        np.nan_to_num(precision[:, 0]),
        recall[:, 0],
        f1[:, 0],
        auroc[:, 0],
        f1[:, 1:],
        auroc[:, 1:],
        p_value,
        preferences.folds > 1,
    )


def name_sentence(preferences: Preferences, number: int) -> str:
    """Return how well the name of a neuron predicts its wins on other documents; empty if that cannot be scored."""
    facts = name_scores(preferences, [number]).facts[0]
    return f"Its most distinctive words, chosen on other documents: {facts}." if facts else ""


def chosen_names(preferences: Preferences, words: int) -> list[list[str]]:
    """Return, for every neuron, up to `words` features of highest lift, if it is above 1, of all folds."""
    totals = preferences.totals
    rows, _ = leading(totals.neuron, preferences.lift(), words, above=1)
    names = preferences.features[totals.feature_id[rows]].tolist()
    ends = np.searchsorted(totals.neuron[rows], np.arange(preferences.n_neurons + 1)).tolist()
    return [names[start:end] for start, end in pairwise(ends)]


def leading(neuron: Ints, values: Floats, k: int, *, above: float = 0) -> tuple[Ints, Ints]:
    """Return the rows of the k largest values above a bound of every neuron, neuron by neuron, and their ranks.

    Args:
        neuron: (n,) ascending.
        values: (n,) of the rows; ties stay in the order of the rows.
        k: maximum number of rows per neuron.
        above: bound.
    """
    order = np.lexsort((-values, neuron))  # stable
    rank = np.arange(len(order)) - np.searchsorted(neuron, neuron[order])
    chosen = (rank < k) & (values[order] > above)
    return np.asarray(order[chosen], np.int64), np.asarray(rank[chosen], np.int64)


class _Split:
    """Names chosen on the even folds, and counts of the odd folds.

    Attributes:
        name: (n_neurons, words) features of highest lift in the even folds, -1 where there are fewer.
        occurrences: (n_features,) in the odd folds.
        won: (n_neurons,) wins in the odd folds.
    """

    def __init__(self, preferences: Preferences, words: int) -> None:
        self.words, self.n_features = words, max(len(preferences.features), 1)
        scored = np.arange(preferences.folds) % 2 == 1
        self.occurrences = preferences.corpus_counts[scored].sum(axis=0)
        key = preferences.neuron * self.n_features + preferences.feature_id
        rows = scored[preferences.fold]
        self._key, self._wins = _summed(key[rows], preferences.count[rows])
        self.won = np.bincount(self._key // self.n_features, self._wins, minlength=preferences.n_neurons)
        self.name = self._chosen(preferences, key, ~rows, preferences.corpus_counts[~scored].sum(axis=0))
        # Features in the order of their frequency, and the range of those that are about as frequent as each.
        self._order, self._rank, self._low, self._size = _alike(preferences.feature_counts())

    def _chosen(self, preferences: Preferences, key: Ints, rows: Bools, occurrences: Ints) -> Ints:
        """Return `name`."""
        pairs, mass = _summed(key[rows], preferences.sum[rows])
        count = _summed(key[rows], preferences.count[rows])[1]
        neuron, feature = np.divmod(pairs, self.n_features)
        lift = lift_of(neuron, count, mass, occurrences[feature], int(occurrences.sum()))
        best, rank = leading(neuron, lift, self.words, above=1)
        name = np.full((preferences.n_neurons, self.words), -1)
        name[neuron[best], rank] = feature[best]
        return name

    def count(self, neurons: Ints, n: int, seed: int) -> tuple[Floats, Floats]:
        """Return (neurons, n) wins and occurrences of the features of names: the neuron's own, then random ones."""
        hits, occurrences = np.zeros((len(neurons), n)), np.zeros((len(neurons), n))
        at_once = max(1, _CELLS // (n * self.words))
        for start in range(0, len(neurons) if len(self._key) else 0, at_once):
            part = slice(start, start + at_once)
            names = self._names(neurons[part], n, seed)
            chosen = names >= 0
            occurrences[part] = np.where(chosen, self.occurrences[names], 0).sum(axis=2)
            key = neurons[part, None, None] * self.n_features + names
            row = np.minimum(np.searchsorted(self._key, key), len(self._key) - 1)
            hits[part] = np.where(chosen & (self._key[row] == key), self._wins[row], 0).sum(axis=2)
        return hits, occurrences

    def _names(self, neurons: Ints, n: int, seed: int) -> NDArray[np.int64]:
        """Return (neurons, n, words) features: the names, then random ones; -1 where a name has fewer."""
        name = self.name[neurons]
        # Uniform numbers that depend on seed, neuron, draw and slot of the name, not on the neurons scored together.
        slot = np.arange(1, n * self.words + 1, dtype=np.uint64).reshape(n, self.words)
        with np.errstate(over="ignore"):
            key = splitmix64(
                (neurons.astype(np.uint64) + np.uint64(1)) * np.uint64(GOLDEN_GAMMA) + np.uint64(seed)
            )
            bits = splitmix64(key[:, None, None] + slot * np.uint64(GOLDEN_GAMMA))
        uniform = (bits >> np.uint64(11)).astype(np.float64) / float(1 << 53)
        low, size = self._low[name][:, None], self._size[name][:, None]
        position = low + (uniform * (size - 1)).astype(np.int64)
        position += position >= self._rank[name][:, None]  # a feature does not stand for itself
        features = self._order[np.minimum(position, self.n_features - 1)]
        features[:, 0] = name
        return np.where(name[:, None] >= 0, features, -1)


def _alike(counts: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Return the features by frequency, and for each its position, that of the first one alike, and their number."""
    order = np.argsort(counts, kind="stable")
    ordered, position = counts[order], np.arange(len(order))
    low = np.minimum(
        np.searchsorted(ordered, ordered / _ALIKE, side="left"), np.maximum(position - _NEAREST, 0)
    )
    high = np.searchsorted(ordered, ordered * _ALIKE, side="right")
    high = np.maximum(high, np.minimum(position + _NEAREST + 1, len(order)))
    rank = np.empty(len(order), np.int64)
    rank[order] = position
    return order, rank, low[rank], (high - low)[rank]


def _summed(key: Ints, values: Ints | Floats) -> tuple[Ints, Floats]:
    """Return the distinct keys, ascending, and the sum of the values of each."""
    keys, row = np.unique(key, return_inverse=True)
    return keys, np.bincount(row, values, minlength=len(keys)).astype(np.float64)
