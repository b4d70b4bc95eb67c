"""Tests of a minimum effect: how often neurons that moved by exactly that much are called, and those that moved more.

    python -m benchmarks.evidence.effects

Neurons are those of `benchmarks.evidence.sizes`, whose true distances are known.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from benchmarks.evidence.power import WINS, paired_stages
from benchmarks.evidence.sizes import CHANGES, ChangedNeuron
from benchmarks.evidence.tables import Table, percent
from txray.analysis.comparison import compare
from txray.analysis.power import detectable_distances
from txray.arrays import Floats
from txray.preferences.preferences import Weight

LIMITS = (0.1, 0.2, 0.3, 0.5)
BEYOND = (0.1, 0.2, 0.3, 0.4)
NEURONS = 100
PERMUTATIONS = 1_000


def called(
    truth: float,
    limit: float | None,
    wins: int,
    seed: int,
    *,
    weight: Weight = "mean",
    change: str = CHANGES[0],
) -> tuple[Floats, Floats]:
    """Return (n_neurons,) p-values and q-values of "moved by at most the limit"; NaN for untested neurons.

    Args:
        truth: distance by which all neurons change, approximately.
        limit: smallest effect; None for the true distance of each neuron, in small groups of similar ones.
        wins: selected activations of a neuron in each stage.
        seed: of the samples.
        weight: what distributions normalise.
        change: kind of change.
    """
    random = np.random.default_rng([seed, wins, round(truth * 1000), CHANGES.index(change)])
    neurons = [ChangedNeuron(change, truth, random) for _ in range(NEURONS)]
    if limit is None:
        # Never below the truth of any: the null hypothesis holds for all, with equality for one.
        distances = np.array([neuron.distance(weight) for neuron in neurons])
        limit = float(np.quantile(distances, 0.5))
        neurons = [neuron for neuron, distance in zip(neurons, distances, strict=True) if distance <= limit]
        neurons = sorted(neurons, key=lambda neuron: -neuron.distance(weight))[: NEURONS // 3]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sides = paired_stages(neurons, wins, random)
        rows = compare(*sides, weight=weight, permutations=PERMUTATIONS, min_effect=limit).neurons
    return rows["p_value"].fill_null(np.nan).to_numpy(), rows["q_value"].fill_null(np.nan).to_numpy()


def calibration(wins: Sequence[int] = (30, 100, 300, 1_000)) -> Table:
    """Return the shares of p-values below 0.05 where neurons moved by just the minimum effect."""
    rows = []
    for weight in ("mean", "mass"):
        for limit in LIMITS:
            row = [f"`{weight}`", f"{limit:g}"]
            for number in wins:
                p_value = np.concatenate(
                    [called(limit, None, number, seed, weight=weight)[0] for seed in (1, 2, 3)]
                )
                row.append(percent(float((p_value[np.isfinite(p_value)] < 0.05).mean())))
            rows.append(row)
            print(row, flush=True)
    return Table(["weight", "true H, just the minimum", *(f"{number:,} wins" for number in wins)], rows)


def recall(limits: Sequence[float] = (0.1, 0.2, 0.4), wins: Sequence[int] = WINS[3:]) -> Table:
    """Return the true distance at which half of the neurons are called, and what `analysis.power` says."""
    rows = []
    for limit in limits:
        row = [f"{limit:g}"]
        for number in wins:
            shares = []
            truths = [truth for truth in np.arange(limit, 1.01, 0.1).tolist() if truth <= 1]
            for truth in truths:
                q_value = called(truth, limit, number, 1)[1]
                shares.append(float((q_value <= 0.05).sum() / NEURONS))
                if shares[-1] >= 0.5:
                    break
            half = f"{np.interp(0.5, shares, truths[: len(shares)]):.2f}" if shares[-1] >= 0.5 else "–"
            estimate = detectable_distances(np.array([float(number)]), 16, limit)[0]
            row.append(f"{half} ({'–' if np.isnan(estimate) else f'{estimate:.2f}'})")
        rows.append(row)
        print(row, flush=True)
    return Table(["minimum", *(f"{number:,} wins" for number in wins)], rows)


if __name__ == "__main__":
    print(recall())
    print(calibration())
