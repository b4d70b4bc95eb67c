"""Accuracy of corrected distances, and coverage of their intervals, for known changes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from benchmarks.evidence.tables import Table, percent
from txray.analysis.effect_sizes import effect_size
from txray.preferences import Preferences, Tally
from txray.preferences.preferences import Weight

TRUTHS = (0.0, 0.3, 0.54, 0.8, 1.0)
WINS = (30, 100, 300, 1_000, 3_000)
WEIGHTS: tuple[Weight, ...] = ("mass", "mean")
CHANGES = ("other words", "fewer of the same")
NEURONS = 200
FOLDS = 16
_SEED = 20_261
_LAYERS = 30
_LAYER_NEURONS = 60
_LAYER_WINS = (8, 1_500)
_TOPIC = 30.0
"""How close the words that a neuron wins in one document are to its profile: smaller is more clustered."""

Wins = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


class ChangedNeuron:
    """The words that one neuron wins before and after, with a known distance between the two.

    Attributes:
        before, after: (2 * length,) shares of its wins by word; only the change brings in words of the second half.
        strength: (2 * length,) mean activation by word.
    """

    def __init__(self, change: str, truth: float, random: np.random.Generator) -> None:
        """Draw a profile of 10 to 200 words, and change it."""
        length = int(np.exp(random.uniform(np.log(10), np.log(200))))
        profile = 1 / np.arange(1, length + 1) ** random.uniform(0.4, 1.1)
        profile /= profile.sum()
        same, other = profile.copy(), np.zeros(length)
        if change == "other words":
            # Words with a share of H^2 of the wins give way to others that are won as often.
            order = random.permutation(length)
            share = np.clip((truth**2 - (np.cumsum(profile[order]) - profile[order])) / profile[order], 0, 1)
            moved = order[share > 0.5]
            other[moved], same[moved] = profile[moved], 0
        else:
            # Every word loses so much of its share to another that 1 - sqrt(what is left) is H^2.
            left = (1 - truth**2) ** 2
            same, other = profile * left, profile * (1 - left)
        self.before = np.concatenate((profile, np.zeros(length)))
        self.after = np.concatenate((same, other))
        strength = random.uniform(0.5, 1.5, length)
        self.strength = np.concatenate((strength, strength))

    def distance(self, weight: Weight) -> float:
        """Hellinger distance between the two distributions that samples without end would show."""
        before, after = (
            side * self.strength if weight == "mass" else (side > 0) * self.strength
            for side in (self.before, self.after)
        )
        overlap = np.sqrt(before / before.sum() * after / after.sum()).sum()
        return float(np.sqrt(max(0.0, 1 - overlap)))

    def sample(
        self, shares: NDArray[np.float64], wins: int, random: np.random.Generator, n_folds: int = FOLDS
    ) -> Wins:
        """Return fold, word and activation of about so many wins, in documents with topics of their own."""
        documents = max(n_folds, wins // 5)
        folds, words, activations = [], [], []
        for n in random.multinomial(random.poisson(wins), np.full(documents, 1 / documents)).tolist():
            if n == 0:
                continue
            topic = random.gamma(np.maximum(_TOPIC * shares, 1e-9)) * (shares > 0)
            topic = shares if topic.sum() == 0 else topic
            word = random.choice(len(shares), n, p=topic / topic.sum())
            folds.append(np.full(n, random.integers(n_folds)))
            words.append(word)
            activations.append(self.strength[word] * random.gamma(4, 0.25, n))
        empty = np.zeros(0, np.int64)
        return (
            np.concatenate([empty, *folds]),
            np.concatenate([empty, *words]),
            np.concatenate([np.zeros(0), *activations]),
        )


def stage(
    neurons: list[ChangedNeuron],
    side: str,
    wins: Sequence[int],
    random: np.random.Generator,
    folds: int = FOLDS,
) -> Preferences:
    """Return the preferences of a layer of such neurons, each with about so many wins."""
    tally = Tally(len(neurons), folds)
    for index, (neuron, n) in enumerate(zip(neurons, wins, strict=True)):
        fold, word, activation = neuron.sample(getattr(neuron, side), n, random, folds)
        ids = tally.feature_ids([f"w{number}" for number in word.tolist()])
        tally.count_occurrences(fold, ids)
        tally.update(fold, np.full(len(fold), index), ids, activation)
    return tally.freeze(stage=side, layer="synthetic", feature_type="token", selection="max-1")


def layers() -> Table:
    """Return estimates and coverage of the distance of whole layers, whose neurons win more and less often."""
    rows = []
    for number, (weight, truth) in enumerate(product(WEIGHTS, TRUTHS)):
        random = np.random.default_rng([_SEED, 1, number])
        estimates, true, holds = [], [], []
        for _ in range(_LAYERS):
            neurons = [ChangedNeuron(CHANGES[0], truth, random) for _ in range(_LAYER_NEURONS)]
            wins = np.exp(random.uniform(*np.log(_LAYER_WINS), _LAYER_NEURONS)).astype(int).tolist()
            sizes = effect_size(
                *(stage(neurons, side, wins, random) for side in ("before", "after")), weight=weight
            )
            true.append(np.sqrt(np.mean([neuron.distance(weight) ** 2 for neuron in neurons])))
            estimates.append(sizes.layer)
            holds.append(sizes.layer_low <= true[-1] + 1e-9 and sizes.layer_high >= true[-1] - 1e-9)
        row = [
            f"`{weight}`",
            f"{np.mean(true):.2f}",
            f"{np.mean(estimates):.2f}",
            percent(float(np.mean(holds)), 0),
        ]
        print(row, flush=True)
        rows.append(row)
    return Table(["weight", "true H", "corrected", "interval contains it"], rows)


def measured() -> Table:
    """Return estimates and coverage for every kind of change, true size and number of wins."""
    rows = []
    for number, (change, truth, wins) in enumerate(product(CHANGES, TRUTHS, WINS)):
        if change == CHANGES[1] and truth in (0.0, 1.0):
            continue  # the same as the other kind
        random = np.random.default_rng([_SEED, number])
        neurons = [ChangedNeuron(change, truth, random) for _ in range(NEURONS)]
        sides = [stage(neurons, side, [wins] * NEURONS, random) for side in ("before", "after")]
        row = [change, f"{truth:g}", f"{wins:,}"]
        for weight in WEIGHTS:
            if change == CHANGES[1] and weight == "mean":
                row += ["–"] * 3
                continue
            sizes = effect_size(sides[0], sides[1], weight=weight, seed=number)
            true = np.array([neuron.distance(weight) for neuron in neurons])
            known = np.isfinite(sizes.low)
            holds = (sizes.low <= true + 1e-9) & (sizes.high >= true - 1e-9)
            root = np.sqrt(np.maximum(np.nanmedian(sizes.signal), 0))
            typical = f"{np.median(true):.2f}: {np.nanmedian(sizes.distance):.2f} (signal {root:.2f})"
            row += [typical, percent(float(holds[known].mean()), 0), percent(float((~known).mean()), 0)]
        print(row, flush=True)
        rows.append(row)
    headings = ["change", "H", "wins"]
    for weight in WEIGHTS:
        headings += [
            f"`{weight}`: true, corrected (root of signal)",
            f"`{weight}`: interval contains it",
            f"`{weight}`: no interval",
        ]
    return Table(headings, rows)
