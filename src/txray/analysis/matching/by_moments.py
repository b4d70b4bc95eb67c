"""Matching of the neurons of two layers by the correlation of what they do on the same text."""

from __future__ import annotations

import numpy as np
import polars as pl

from txray.analysis.layers.moments import CrossMoments
from txray.analysis.matching.assignment import pair_table
from txray.analysis.matching.chance import BestByChance
from txray.arrays import Floats
from txray.progress import progress


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

    The null model replaces the candidates of a neuron by as many random directions of the same layer: mixtures of its
    standardized neurons with normal weights. Two layers that encode the same, but not in the same neurons, correlate
    with each other's directions as well as with each other's neurons, so none of their neurons match.

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
        with progress("matching", draws, unit="draws") as advance:
            for _ in range(draws):
                chance.before.append(_best_direction(both, within_y, random))
                chance.after.append(_best_direction(both.T, within_x, random))
                advance()
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


def _best_direction(correlation: Floats, within: Floats, random: np.random.Generator) -> Floats:
    """Return the (n,) largest |r| of each neuron with as many random directions as the other layer has neurons.

    Args:
        correlation: (n, n_other) correlations with the neurons of the other layer.
        within: (n_other, n_other) correlations of these with each other.
        random: generator.
    """
    weights = random.standard_normal(within.shape)
    # The variance of a direction w of standardized neurons is w' R w; rounding may make that of a constant negative.
    variance = np.einsum("ij,ij->j", weights, within @ weights)
    strength = np.abs(correlation @ weights) / np.sqrt(np.maximum(variance, 1e-12))
    return np.asarray(np.minimum(strength, 1.0).max(axis=1))
