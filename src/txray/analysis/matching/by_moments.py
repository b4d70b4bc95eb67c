"""Matching of the neurons of two layers by the correlation of what they do on the same text."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from txray.analysis.layers.moments import CrossMoments
from txray.analysis.matching.assignment import pair_table
from txray.analysis.matching.chance import BestByChance
from txray.arrays import Floats
from txray.progress import progress

NEAREST = 16
"""Number of neurons that random directions mix."""


def pairs_by_correlation(
    cross: CrossMoments,
    self_x: CrossMoments,
    self_y: CrossMoments,
    *,
    false_match_rate: float,
    draws: int,
    seed: int,
) -> pl.DataFrame:
    """Return the pairs of `ModelMatching.pairs`, from the moments of two layers.

    The null model replaces the candidates of a neuron by as many random directions: mixtures, with normal weights, of
    those neurons of the other layer that correlate most with it, standardized. Two layers that encode the same, but not
    in the same neurons, correlate with such directions as well as with each other's neurons, so none of their neurons
    match. Directions of the whole layer would be too weak a reference: a neuron correlates with any mixture of the
    neurons that share its topic more than with mixtures of all.

    Args:
        cross: moments of the layers before (x) and after (y).
        self_x, self_y: moments of each layer with itself, over the same words.
        false_match_rate: largest q-value of a match.
        draws: number of draws of the random directions.
        seed: random seed.
    """
    neurons = np.flatnonzero(~cross.constant_x), np.flatnonzero(~cross.constant_y)
    both, within_x, within_y = (
        moments.correlation()[np.ix_(rows, columns)]
        for moments, rows, columns in (
            (cross, *neurons),
            (self_x, neurons[0], neurons[0]),
            (self_y, neurons[1], neurons[1]),
        )
    )
    random = np.random.default_rng(seed)
    chance = BestByChance([], []) if both.size else None
    if chance is not None:
        with progress("matching", sum(both.shape), unit="neurons") as advance:
            for strength, within, best in (
                (both, within_y, chance.before),
                (both.T, within_x, chance.after),
            ):
                weights = random.standard_normal((min(NEAREST, len(within)), draws, len(within)))
                best += _best_directions(strength, within, weights, advance)
    pairs = pair_table(
        np.abs(both),
        chance,
        (np.ones(len(neurons[0]), np.int64), np.ones(len(neurons[1]), np.int64)),
        neurons,
        false_match_rate,
    )
    signed = cross.correlation()
    known = pairs.select("before", "after").drop_nulls().to_numpy()
    signs = dict(zip(known[:, 0].tolist(), signed[known[:, 0], known[:, 1]].tolist(), strict=True))
    return pairs.with_columns(
        correlation=pl.Series([signs.get(neuron) for neuron in pairs["before"]], dtype=pl.Float64)
    )


def _best_directions(
    correlation: Floats, within: Floats, weights: Floats, advance: Callable[[float], None]
) -> list[Floats]:
    """Return, per draw, the (n,) largest |r| of each neuron with random directions among its nearest neurons.

    Args:
        correlation: (n, n_other) correlations with the neurons of the other layer.
        within: (n_other, n_other) correlations of these with each other.
        weights: (n_nearest, draws, n_other) weights of as many directions per draw as the other layer has neurons.
        advance: called after each neuron.
    """
    nearest, draws, candidates = weights.shape
    directions = weights.reshape(nearest, -1)
    best = np.empty((draws, len(correlation)))
    for neuron, row in enumerate(correlation):
        near = np.argsort(-np.abs(row), kind="stable")[:nearest]
        # The variance of a direction w of standardized neurons is w' R w; rounding may make a small one negative.
        variance = np.einsum("ij,ij->j", directions, within[np.ix_(near, near)] @ directions)
        strength = np.abs(row[near] @ directions) / np.sqrt(np.maximum(variance, 1e-12))
        best[:, neuron] = np.minimum(strength, 1.0).reshape(draws, candidates).max(axis=1)
        advance(1)
    return list(best)
