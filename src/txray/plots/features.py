"""The preferred features of neurons, strongest first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from txray.preferences.preferences import Preferences, Weight


@dataclass(frozen=True, slots=True)
class Preferred:
    """Preferred features of one neuron, the most probable first, ties by feature.

    Attributes:
        feature: names.
        probability: (n,) of the preference distribution; sums to 1 unless empty.
        mean: (n,) mean selected activation, in units of the layer's output.
        mass: (n,) their sum, in the same units.
        count: (n,) selected activations.
        lift: (n,) ratio to what the feature's frequency predicts.
    """

    feature: tuple[str, ...]
    probability: NDArray[np.float64]
    mean: NDArray[np.float64]
    mass: NDArray[np.float64]
    count: NDArray[np.int64]
    lift: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.feature)


def preferred(preferences: Preferences, neuron: int, weight: Weight = "mean") -> Preferred:
    """Return what one neuron prefers; empty for a neuron that is not in use.

    Args:
        preferences: of one stage.
        neuron: its index.
        weight: what the distribution normalises.
    """
    totals = preferences.totals
    rows = slice(*np.searchsorted(totals.neuron, (neuron, neuron + 1)))
    feature_id, count, mass = totals.feature_id[rows], totals.count[rows], totals.sum[rows]
    weights = totals.weights(weight)[rows]
    # Rows come sorted by feature: in a stable sort, ties keep that order. Weights of 0 are no preference.
    order = np.argsort(-weights, kind="stable")[: int((weights > 0).sum())]
    weights = weights[order]
    return Preferred(
        feature=tuple(preferences.features[feature_id[order]].tolist()),
        probability=weights / weights.sum() if len(weights) else weights,
        mean=(mass / count)[order],
        mass=mass[order],
        count=count[order],
        lift=preferences.lift()[rows][order],
    )


def strongest(preferences: Preferences, k: int, weight: Weight = "mean") -> list[tuple[str, ...]]:
    """Return the k features of highest probability of every neuron, in one pass.

    Args:
        preferences: of one stage.
        k: features per neuron.
        weight: what the distributions normalise.

    Returns:
        One tuple per neuron, at most k long, empty for neurons that are not in use.
    """
    totals = preferences.totals
    # The sort is stable and rows come sorted by feature, so ties stay in the order of the features.
    order = np.lexsort((-totals.weights(weight), totals.neuron))
    starts = np.searchsorted(totals.neuron, np.arange(preferences.n_neurons))
    ends = starts + np.bincount(totals.neuron[totals.weights(weight) > 0], minlength=preferences.n_neurons)
    names = preferences.features
    return [
        tuple(names[totals.feature_id[order[start : min(end, start + k)]]].tolist())
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
    ]


def distinctive(preferences: Preferences, k: int) -> list[tuple[str, ...]]:
    """Return the k most distinctive features of every neuron, by lift (see `txray.preferences.lift`).

    Args:
        preferences: of one stage.
        k: features per neuron.

    Returns:
        One tuple per neuron, at most k long, empty for neurons that are not in use; only features of lift above 1.
    """
    totals = preferences.totals
    lifted = preferences.lift()
    order = np.lexsort((-lifted, totals.neuron))
    starts = np.searchsorted(totals.neuron, np.arange(preferences.n_neurons))
    ends = starts + np.bincount(totals.neuron[lifted > 1], minlength=preferences.n_neurons)
    names = preferences.features
    return [
        tuple(names[totals.feature_id[order[start : min(end, start + k)]]].tolist())
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
    ]
