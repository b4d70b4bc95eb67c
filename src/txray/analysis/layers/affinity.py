"""Which layers of two models, or of one, hold neurons that prefer the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl

from txray.analysis.matching.affinity import Affinity
from txray.analysis.subjects import common_layers
from txray.arguments import checked_call
from txray.arrays import Floats
from txray.errors import UsageError
from txray.preferences.preferences import Weight
from txray.preferences.stage_like import StageLike, as_stage
from txray.progress import progress


@checked_call
def layer_affinity(
    before: StageLike,
    after: StageLike,
    *,
    layers: str | Sequence[str] | None = None,
    feature_type: str = "token",
    weight: Weight = "mean",
    min_wins: int = 20,
    seed: int = 0,
) -> pl.DataFrame:
    """Return how similar the preferences of every layer of one stage and every layer of another are.

    Cheaper than matching each pair of layers neuron by neuron: neurons are paired with their nearest neighbour, without
    an assignment.

    Args:
        before, after: stages of any models; the same stage twice compares its own layers.
        layers: of both stages, names or patterns; all by default.
        feature_type: the feature type.
        weight: what distributions normalise.
        min_wins: minimum number of selected activations of a neuron.
        seed: random seed of the shuffled features.

    Returns:
        A table with one row per pair of layers, in columns layer_before, layer_after, affinity (mean affinity of each
        neuron before to its nearest neuron after), chance (the same with features exchanged for others of about the
        same frequency), mutual_share (pairs of mutually nearest neurons, as a share of the smaller layer). Null if a
        layer has no neuron with enough wins.

    Raises:
        UnknownNameError: an unknown layer, feature type or weight.
        UsageError: min_wins below 1, or a negative seed.
    """
    if min_wins < 1 or seed < 0:
        raise UsageError(
            f"layer affinity: min_wins={min_wins}, seed={seed}; at least 1, and no negative seed"
        )
    rows = []
    before, after = as_stage(before), as_stage(after)
    layers_before, layers_after = (
        stage.layers if layers is None else common_layers([stage], layers, "layer affinity")
        for stage in (before, after)
    )
    pairs = [(p, q) for p in layers_before for q in layers_after]
    with progress(f"layers of {before.name} and {after.name}", len(pairs), unit="pairs") as advance:
        for p, q in pairs:
            sides = (
                before.preferences(layer=p, feature_type=feature_type),
                after.preferences(layer=q, feature_type=feature_type),
            )
            rows.append((p, q, *_nearest(Affinity.of(*sides, weight, min_wins), seed)))
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


def _mean_of_best(affinity: Floats) -> float:
    # Rounding lets the overlap of a distribution with itself exceed 1.
    return float(np.minimum(affinity.max(axis=1), 1).mean())


def _mutual(affinity: Floats) -> float:
    nearest_after, nearest_before = affinity.argmax(axis=1), affinity.argmax(axis=0)
    mutual = nearest_before[nearest_after] == np.arange(len(affinity))
    return float(mutual.sum() / min(affinity.shape))
