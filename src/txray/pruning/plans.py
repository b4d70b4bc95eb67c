"""What is pruned together: the paper's four sets, and curves over the share of neurons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from txray.analysis.comparison import Comparison
from txray.errors import UsageError
from txray.pruning.sets import NeuronSet, in_state, pruning_order

SHARES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
"""Shares of a layer that curves prune."""

EXTREMES = 20
"""Neurons of sets B and C in the paper."""


def paper_sets(comparison: Comparison, k: int = EXTREMES) -> list[NeuronSet]:
    """The four sets of the paper: avoided, least and most preferred, gained.

    Preferred is measured by activation mass in the later stage; of neurons with the same, shorter ones are preferred
    less. Where fewer than 2 k neurons are preferred, B and C get fewer, so that they do not overlap.

    Args:
        comparison: of the model on some text before supervision, with the supervised model on the same text.
        k: neurons of sets B and C.

    Returns:
        A, B, C and D; sets that the stages do not have are empty.

    Raises:
        UsageError: `k` is below 1.

    Source:
        Rethmeier et al. 2020, table 2.
    """
    if k < 1:
        raise UsageError(f"paper sets: k={k}; it must be at least 1")
    after, layer = comparison.after, comparison.after.layer
    mass, length = after.mass(), after.lengths()
    preferred = np.flatnonzero(length > 0)
    order = preferred[np.lexsort((preferred, length[preferred], mass[preferred]))]
    k = min(k, len(order) // 2)
    return [
        in_state(comparison, "avoided", name="A: avoided"),
        NeuronSet(f"B: {k} least preferred", layer, tuple(sorted(order[:k].tolist())), "mass"),
        NeuronSet(f"C: {k} most preferred", layer, tuple(sorted(order[len(order) - k :].tolist())), "mass"),
        in_state(comparison, "gained", name="D: gained"),
    ]


def curve_sets(
    scores: Mapping[str, NDArray[np.floating]], layer: str, shares: Sequence[float] = SHARES
) -> list[NeuronSet]:
    """For each ranking and share, that share of the layer with the smallest scores.

    Neurons without a score are pruned last.

    Args:
        scores: ranking -> (n_neurons,).
        layer: of the neurons.
        shares: between 0 and 1.

    Raises:
        UsageError: no rankings, or a share that prunes nothing or everything.
    """
    if not scores or not shares:
        raise UsageError("sparsity curves: no rankings or no shares; name at least one of each")
    if len(set(shares)) < len(shares) or not all(0 < share < 1 for share in shares):
        raise UsageError(
            f"sparsity curves: shares {list(shares)}; give distinct ones between 0 and 1, such as 0.1"
        )
    sets = []
    for ranking, values in scores.items():
        order = pruning_order(values)
        former = 0
        for share in sorted(shares):
            k = min(max(round(share * len(order)), 1), len(order) - 1)
            if k > former:  # of small layers, several shares are as many neurons
                former = k
                chosen = tuple(sorted(order[:k].tolist()))
                sets.append(NeuronSet(f"{ranking} {100 * share:g} %", layer, chosen, ranking))
    if not sets:
        raise UsageError(f"sparsity curves: layer {layer!r} has 1 neuron; nothing of it can be pruned")
    return sets


def shares_of_mass(comparison: Comparison, sets: Sequence[NeuronSet]) -> pl.DataFrame:
    """Share of the activation mass that each set holds in the later stage: columns set, mass_share.

    Args:
        comparison: of two stages.
        sets: of the layer compared.
    """
    mass = comparison.after.mass()
    total = float(mass.sum())
    shares = [float(mass[list(each.neurons)].sum()) / total if total else None for each in sets]
    return pl.DataFrame(
        {"set": [each.name for each in sets], "mass_share": shares},
        schema={"set": pl.String, "mass_share": pl.Float64},
    )
