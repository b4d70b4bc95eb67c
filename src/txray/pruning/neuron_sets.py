"""Sets of neurons to prune: by state, by rank, those of the paper, and those of sparsity curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from txray.analysis.comparison import Comparison
from txray.analysis.states import STATES
from txray.errors import UnknownNameError, UsageError
from txray.pruning.choices import SHARES

TESTED_STATES = ("confident-avoided", "confident-gained", "undecided")
"""States of tested comparisons: significant, or not."""

SET_STATES = (*STATES, *TESTED_STATES)

PAPER_SIZE = 20
"""Number of neurons in sets B and C of the paper."""


@dataclass(frozen=True)
class NeuronSet:
    """A named set of neurons of one layer.

    Attributes:
        name: name in tables and figures.
        layer: name of the layer.
        neurons: distinct indices; may be empty if no neuron meets a condition.
        ranking: name of the ranking that selected them; empty if none did.
    """

    name: str
    layer: str
    neurons: tuple[int, ...]
    ranking: str = ""

    def __len__(self) -> int:
        return len(self.neurons)

    def require_size(self, n_neurons: int) -> None:
        """Check that pruning the set leaves neurons.

        Raises:
            UsageError: the set is as large as the layer, or larger.
        """
        if len(self) >= n_neurons:
            raise UsageError(
                f"set {self.name!r}: {len(self)} neurons of layer {self.layer!r}, which has {n_neurons}; "
                f"prune at most {n_neurons - 1}"
            )


def in_state(comparison: Comparison, state: str, *, name: str | None = None) -> NeuronSet:
    """Return the neurons in a state between two stages.

    Args:
        comparison: comparison of the stages.
        state: `shared`, `avoided`, `gained` or `unpreferred`; for tested comparisons also `confident-avoided`,
            `confident-gained` and `undecided`.
        name: name of the set; that of the state by default.

    Raises:
        UnknownNameError: unknown state.
        UsageError: the state needs a tested comparison.
    """
    if state not in SET_STATES:
        raise UnknownNameError.of("state", state, SET_STATES)
    column, value = (
        ("confident_state", state.removeprefix("confident-")) if state in TESTED_STATES else ("state", state)
    )
    if column not in comparison.neurons.columns:
        raise UsageError(
            f"state {state!r}: needs a comparison tested for significance; pass comparison.test()"
        )
    neurons = comparison.neurons.filter(pl.col(column) == value)["neuron"].to_list()
    return NeuronSet(name or state, comparison.after.layer, tuple(neurons))


def ranked(
    importance: NDArray[np.floating],
    layer: str,
    k: int,
    *,
    largest: bool,
    ranking: str,
    name: str | None = None,
) -> NeuronSet:
    """Return the `k` neurons of the smallest or the largest importance.

    Neurons of unknown importance (NaN) are excluded; ties go to the smaller index.

    Args:
        importance: (n_neurons,) importance of each neuron.
        layer: name of the layer.
        k: number of neurons.
        largest: whether to take the largest.
        ranking: name of the ranking.
        name: name of the set; by default such as `top-20:mass`.

    Raises:
        UsageError: fewer than `k` neurons have a known importance.
    """
    n_known = int(np.isfinite(importance).sum())
    name = name or f"{'top' if largest else 'bottom'}-{k}:{ranking}"
    if k < 1:
        raise UsageError(f"set {name!r}: k={k}; it must be at least 1")
    if k > n_known:
        raise UsageError(
            f"set {name!r}: ranking {ranking!r} applies to {n_known} of {len(importance)} neurons of layer {layer!r}; "
            "request at most that many"
        )
    order = pruning_order(importance, largest_first=largest)
    return NeuronSet(name, layer, tuple(sorted(order[:k].tolist())), ranking)


def pruning_order(importance: NDArray[np.floating], *, largest_first: bool = False) -> NDArray[np.int64]:
    """Return (n_neurons,) neurons by ascending or descending importance; those of unknown importance come last."""
    key = np.where(np.isfinite(importance), -importance if largest_first else importance, np.inf)
    return np.argsort(key, kind="stable")


def random_orders(n_neurons: int, n_draws: int, seed: int) -> NDArray[np.int64]:
    """Return (n_draws, n_neurons) random pruning orders: the first k neurons of a row are a random set of size k."""
    return np.stack([np.random.default_rng([seed, draw]).permutation(n_neurons) for draw in range(n_draws)])


def paper_sets(comparison: Comparison, k: int = PAPER_SIZE) -> list[NeuronSet]:
    """Return the four sets of the paper: avoided, least preferred, most preferred and gained neurons.

    Neurons are ordered by their activation mass in the later stage, ties by their number of features. If fewer than
    2 k neurons prefer anything, B and C are smaller, so that they do not overlap.

    Args:
        comparison: comparison of the model before supervision and the supervised model, on the same text.
        k: number of neurons in sets B and C.

    Returns:
        A, B, C and D; they may be empty.

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
    importance: Mapping[str, NDArray[np.floating]], layer: str, shares: Sequence[float] = SHARES
) -> list[NeuronSet]:
    """Return one set for each ranking and share: that share of the layer, least important neurons first.

    Neurons of unknown importance are pruned last.

    Args:
        importance: ranking -> (n_neurons,) importance of each neuron.
        layer: name of the layer.
        shares: shares of the layer, between 0 and 1.

    Raises:
        UsageError: no rankings, or a share that prunes nothing or everything.
    """
    if not importance or not shares:
        raise UsageError("sparsity curves: no rankings or no shares; pass at least one of each")
    if len(set(shares)) < len(shares) or not all(0 < share < 1 for share in shares):
        raise UsageError(
            f"sparsity curves: shares {list(shares)}; pass distinct numbers between 0 and 1, such as 0.1"
        )
    sets = []
    for ranking, values in importance.items():
        order = pruning_order(values)
        previous_k = 0
        for share in sorted(shares):
            k = min(max(round(share * len(order)), 1), len(order) - 1)
            if k > previous_k:  # in a small layer, several shares are the same number of neurons
                previous_k = k
                neurons = tuple(sorted(order[:k].tolist()))
                sets.append(NeuronSet(f"{ranking} {100 * share:g}%", layer, neurons, ranking))
    if not sets:
        raise UsageError(f"sparsity curves: layer {layer!r} has 1 neuron, which cannot be pruned")
    return sets


def shares_of_mass(comparison: Comparison, sets: Sequence[NeuronSet]) -> pl.DataFrame:
    """Return the share of the later stage's activation mass in each set: columns set, mass_share."""
    mass = comparison.after.mass()
    total = float(mass.sum())
    shares = [float(mass[list(neurons.neurons)].sum()) / total if total else None for neurons in sets]
    return pl.DataFrame(
        {"set": [neurons.name for neurons in sets], "mass_share": shares},
        schema={"set": pl.String, "mass_share": pl.Float64},
    )
