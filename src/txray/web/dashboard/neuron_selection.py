"""The neuron that a page shows, and the stages that have it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from txray.errors import UnknownNameError, UsageError
from txray.plots.features import Preferred, preferred
from txray.preferences import StageFolder
from txray.web.dashboard.jobs.tasks import shared_layers
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.url_state import UrlState


@dataclass(frozen=True, eq=False)
class NeuronSelection:
    """The selected neuron and the stages that have it.

    Attributes:
        layer, neuron: which neuron.
        sides: the stages before and after, as far as they have the layer.
        stages: all stages with the same layer, in order.
        feature_type: the feature type.
    """

    layer: str
    neuron: int
    sides: tuple[StageFolder, ...]
    stages: tuple[StageFolder, ...]
    feature_type: str

    @classmethod
    def of(cls, view: UrlState, store: ResultStore) -> NeuronSelection:
        """Look up the neuron that a URL names.

        Raises:
            UsageError: it names no neuron, or one that does not exist.
            UnknownNameError: no such layer.
        """
        catalog = store.catalog
        before, after = catalog[view.before], catalog[view.after]
        layer = view.layer or next(iter(after.layers))
        if layer not in after.layers and layer not in before.layers:
            raise UnknownNameError.of("layer", layer, list(dict.fromkeys([*before.layers, *after.layers])))
        if view.neuron is None:
            raise UsageError("Pick a neuron: type its number above, or click one in the overview.")
        reference = after if layer in after.layers else before
        size = reference.n_neurons[layer]
        if view.neuron >= size:
            raise UsageError(f"Layer {layer} has no neuron {view.neuron}; there are 0 to {size - 1}.")
        stages = tuple(
            stage
            for stage in catalog
            if view.feature_type in stage.feature_types and layer in shared_layers(reference, stage)
        )
        sides = tuple(dict.fromkeys(stage for stage in (before, after) if stage in stages))
        if not sides:
            raise UsageError(f"Neither stage has the feature type {view.feature_type} for layer {layer}.")
        return cls(layer, view.neuron, sides, stages, view.feature_type)

    def preferred(self, stage: StageFolder, feature_type: str, weight: str) -> Preferred:
        """Return what the neuron prefers in a stage."""
        preferences = stage.preferences_of_neuron(self.neuron, layer=self.layer, feature_type=feature_type)
        return preferred(preferences, self.neuron, weight)  # type: ignore[arg-type]


def hellinger_of(first: Preferred, second: Preferred) -> float | None:
    """Return the Hellinger distance of one neuron between two stages; None if it is not in use in either."""
    if not len(first) or not len(second):
        return None
    p, q = (dict(zip(side.feature, side.probability.tolist(), strict=True)) for side in (first, second))
    union: Sequence[str] = list({*p, *q})
    gap: NDArray[np.float64] = np.sqrt([p.get(name, 0.0) for name in union]) - np.sqrt(
        [q.get(name, 0.0) for name in union]
    )
    return float(np.sqrt(np.sum(np.square(gap)) / 2))
