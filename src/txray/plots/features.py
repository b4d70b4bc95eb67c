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
    """What one neuron prefers, by falling probability, then by feature.

    Attributes:
        feature: names.
        probability: (n,) of the preference distribution; sums to 1 unless empty.
        mean: (n,) mean selected activation, in units of the layer's output.
        mass: (n,) their sum, in the same units.
        count: (n,) selected activations.
        lift: (n,) how many times as strong as by the feature's frequency.
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
    """What one neuron prefers; empty for an un-preferred neuron.

    Args:
        preferences: of one stage.
        neuron: its index.
        weight: what the distribution normalises.
    """
    totals = preferences.totals
    rows = slice(*np.searchsorted(totals.neuron, (neuron, neuron + 1)))
    mine = Totals(
        neuron=totals.neuron[rows],
        feature_id=totals.feature_id[rows],
        count=totals.count[rows],
        sum=totals.sum[rows],
    )
    weights = mine.weights(weight)
    # Rows come sorted by feature: in a stable sort, ties keep that order. Weights of 0 are no preference.
    order = np.argsort(-weights, kind="stable")[: int((weights > 0).sum())]
    weights = weights[order]
    return Preferred(
        feature=tuple(preferences.features[mine.feature_id[order]].tolist()),
        probability=weights / weights.sum() if len(weights) else weights,
        mean=(mine.sum / mine.count)[order],
        mass=mine.sum[order],
        count=mine.count[order],
        lift=preferences.lift()[rows][order],
    )


def strongest(preferences: Preferences, k: int, weight: Weight = "mean") -> list[tuple[str, ...]]:
    """The k features of highest probability of every neuron, in one pass.

    Args:
        preferences: of one stage.
        k: features per neuron.
        weight: what the distributions normalise.

    Returns:
        One tuple per neuron, at most k long, empty where un-preferred.
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
    """The k features that every neuron prefers most beyond how often they occur (see `txray.preferences.lift`).

    Args:
        preferences: of one stage.
        k: features per neuron.

    Returns:
        One tuple per neuron, at most k long, empty where un-preferred; only features above their share of the corpus.
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
