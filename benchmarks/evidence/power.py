"""Size of change that the tests detect in half of the neurons, by wins and folds: calibrates `analysis.power`.

    python -m benchmarks.evidence.power

Two stages over the same documents: `neurons` neurons win `wins` words each, and all of them change by the same true
distance. Reported is the distance at which half of them are significant at 5% FDR.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from benchmarks.evidence.sizes import CHANGES, FOLDS, ChangedNeuron, stage
from txray.analysis.comparison import compare
from txray.preferences import Preferences

WINS = (5, 10, 20, 50, 100, 200, 500, 1_000)
TRUTHS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
NEURONS = 100
PERMUTATIONS = 2_000


def paired_stages(
    neurons: Sequence[ChangedNeuron], wins: int, random: np.random.Generator, folds: int = FOLDS
) -> list[Preferences]:
    """Return the stages before and after, over the same documents: every feature occurs equally often in both."""
    neurons = list(neurons)
    sides = [stage(neurons, side, [wins] * len(neurons), random, folds) for side in ("before", "after")]
    names = np.array(sorted({name for side in sides for name in side.features}), dtype=object)
    paired = []
    for side in sides:
        feature_id = np.searchsorted(names, side.features)[side.feature_id]
        counts = np.ones((folds, len(names)), np.int64)
        paired.append(replace(side, features=names, feature_id=feature_id, corpus_counts=counts))
    return paired


def detected_share(truth: float, wins: int, folds: int, seed: int, neurons: int = NEURONS) -> float:
    """Return the share of neurons that are significant, 0 to 1, if all change by the true distance `truth`.

    Args:
        truth: Hellinger distance of the weight `mean`, 0 to 1.
        wins: selected activations of a neuron in each stage.
        folds: number of folds, all with documents.
        seed: of the samples.
        neurons: number of neurons.
    """
    random = np.random.default_rng([seed, wins, folds, round(truth * 1000)])
    changed = [ChangedNeuron(CHANGES[0], truth, random) for _ in range(neurons)]
    paired = paired_stages(changed, wins, random, folds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = compare(*paired, permutations=PERMUTATIONS).neurons
    return float((table["q_value"].fill_null(1) <= 0.05).sum() / neurons)


def detectable(wins: int, folds: int, seed: int = 0, truths: Sequence[float] = TRUTHS) -> float:
    """Return the distance detected in half of the neurons, interpolated; infinite if none of `truths` is."""
    below, share_below = 0.0, 0.0
    for truth in truths:
        share = detected_share(truth, wins, folds, seed)
        if share >= 0.5:
            return below + (truth - below) * (0.5 - share_below) / (share - share_below)
        below, share_below = truth, share
    return float("inf")


def main(folds: Sequence[int]) -> None:
    """Print a table with one row per number of folds."""
    print(f"| folds | {' | '.join(f'{wins:,} wins' for wins in WINS)} |")
    print(f"| ---: |{' ---: |' * len(WINS)}")
    for n in folds:
        cells = [f"{detectable(wins, n):.2f}" for wins in WINS]
        print(f"| {n} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main([int(folds) for folds in sys.argv[1:]] or [6, 8, 16, 32])
