"""Which layers of two models, or of one, hold neurons that prefer the same."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from txray.analysis.matching.affinity import Affinity
from txray.errors import UsageError
from txray.preferences.preferences import Weight
from txray.preferences.stage import Stage
from txray.progress import progress


def layer_affinity(
    before: Stage,
    after: Stage,
    feature_type: str = "token",
    weight: Weight = "mean",
    *,
    min_wins: int = 20,
    seed: int = 0,
) -> pl.DataFrame:
    """Every layer of one stage against every layer of another, by what their neurons prefer.

    Cheaper than matching every pair of layers neuron by neuron: each neuron's nearest one is looked up, without an
    assignment.

    Args:
        before, after: stages of any models; the same one for its layers among themselves.
        feature: the feature type.
        weight: what distributions normalise.
        min_wins: selected activations that a neuron must have.
        seed: of the shuffled features.

    Returns:
        One row per pair of layers: layer_before, layer_after, affinity (of the neurons before with their nearest after,
        mean), chance (the same with features exchanged for others of about the same frequency), mutual_share (neurons
        whose nearest one has them as its nearest, as a share of the side that has fewer). Null where a side has no
        neuron with enough wins.

    Raises:
        UnknownNameError: no such feature or weight.
        UsageError: fewer than one win asked for, or a negative seed.
    """
    if min_wins < 1 or seed < 0:
        raise UsageError(
            f"layer affinity: min_wins={min_wins}, seed={seed}; at least 1, and no negative seed"
        )
    rows = []
    pairs = [(first, second) for first in before.layers for second in after.layers]
    with progress(f"layers of {before.name} and {after.name}", len(pairs), unit="pairs") as advance:
        for first, second in pairs:
            sides = (
                before[first, feature_type],
                after[second, feature_type],
            )
            rows.append((first, second, *_nearest(Affinity.of(*sides, weight, min_wins), seed)))
            advance()
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


_SCHEMA: dict[str, pl.DataType] = {
    "layer_before": pl.String(),
    "layer_after": pl.String(),
    "affinity": pl.Float64(),
    "chance": pl.Float64(),
    "mutual_share": pl.Float64(),
}


def _nearest(pair: Affinity, seed: int) -> Iterable[float | None]:
    observed = pair.among_frequent(pair.observed())
    if not observed.size:
        return None, None, None
    chance = pair.among_frequent(pair.by_chance(np.random.default_rng(seed)))
    return _mean_of_best(observed), _mean_of_best(chance), _mutual(observed)


def _mean_of_best(affinity: NDArray[np.float64]) -> float:
    # Rounding lets the overlap of a distribution with itself exceed 1.
    return float(np.minimum(affinity.max(axis=1), 1).mean())


def _mutual(affinity: NDArray[np.float64]) -> float:
    nearest_after, nearest_before = affinity.argmax(axis=1), affinity.argmax(axis=0)
    mutual = nearest_before[nearest_after] == np.arange(len(affinity))
    return float(mutual.sum() / min(affinity.shape))
