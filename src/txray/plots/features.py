"""The preferred features of neurons, strongest first."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from txray.preferences.names import leading

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
    """Return the k features of highest probability of every neuron; none for neurons that are not in use."""
    return _names(preferences, leading_rows(preferences, preferences.totals.weights(weight), k))


def distinctive(preferences: Preferences, k: int) -> list[tuple[str, ...]]:
    """Return the k most distinctive features of every neuron: those of highest lift, if it is above 1."""
    return _names(preferences, leading_rows(preferences, preferences.lift(), k, above=1))


def labels(preferences: Preferences, k: int) -> list[tuple[str, ...]]:
    """Return the k most distinctive features of every neuron, or in their place the note on a name that does not hold.

    See `txray.preferences.names`.
    """
    notes = preferences.name_scores.notes
    return [(note,) if note else name for note, name in zip(notes, distinctive(preferences, k), strict=True)]


def leading_rows(
    preferences: Preferences, values: NDArray[np.float64], k: int, *, above: float = 0
) -> NDArray[np.int64]:
    """Return the rows of `totals` with the k largest values above a bound of every neuron, neuron by neuron."""
    return leading(preferences.totals.neuron, values, k, above=above)[0]


def _names(preferences: Preferences, rows: NDArray[np.int64]) -> list[tuple[str, ...]]:
    """Return, for every neuron, the names of the features in some rows of `totals`, which are sorted by neuron."""
    totals = preferences.totals
    names = preferences.features[totals.feature_id[rows]].tolist()
    ends = np.searchsorted(totals.neuron[rows], np.arange(preferences.n_neurons + 1)).tolist()
    return [tuple(names[start:end]) for start, end in pairwise(ends)]
