"""The preferred features of neurons, strongest first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from txray.preferences.preferences import Totals

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
    """Return what one neuron prefers; empty for a neuron that is not in use."""
    totals = preferences.totals
    rows = slice(*np.searchsorted(totals.neuron, (neuron, neuron + 1)))
    of_neuron = Totals(
        neuron=totals.neuron[rows],
        feature_id=totals.feature_id[rows],
        count=totals.count[rows],
        sum=totals.sum[rows],
    )
    weights = of_neuron.weights(weight)
    # Rows come sorted by feature: in a stable sort, ties keep that order. Weights of 0 are no preference.
    order = np.argsort(-weights, kind="stable")[: int((weights > 0).sum())]
    weights = weights[order]
    return Preferred(
        feature=tuple(preferences.features[of_neuron.feature_id[order]].tolist()),
        probability=weights / weights.sum() if len(weights) else weights,
        mean=(of_neuron.sum / of_neuron.count)[order],
        mass=of_neuron.sum[order],
        count=of_neuron.count[order],
        lift=preferences.lift()[rows][order],
    )


def strongest(preferences: Preferences, k: int, weight: Weight = "mean") -> list[tuple[str, ...]]:
    """Return the k features of highest probability of every neuron; none for neurons that are not in use."""
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
    """Return the k most distinctive features of every neuron: those of highest lift, if it is above 1."""
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
