"""Means and standard deviations of neurons, for selections that standardize."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from txray.capture.activations import as_numpy
from txray.capture.hook_point import ChunkActivations, HookPoint
from txray.errors import CaptureError, UsageError
from txray.preferences.scales import SCALE_SCHEMA


class ScaleTally:
    """Sums and sums of squares of one layer's activations over all words."""

    def __init__(self, hook_point: HookPoint) -> None:
        """Start empty."""
        # Raw activations, neither standardized nor signed.
        self.hook_point = replace(
            hook_point, selection=replace(hook_point.selection, sign="positive", standardize="none")
        )
        self._words = 0
        self._sum = np.zeros(hook_point.n_neurons)
        self._sum_sq = np.zeros(hook_point.n_neurons)

    def update(self, activations: ChunkActivations) -> None:
        """Add one chunk."""
        values = as_numpy(activations.of_words()).astype(np.float64)
        self._words += len(values)
        self._sum += values.sum(axis=0)
        self._sum_sq += np.square(values).sum(axis=0)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return the whole state as arrays."""
        return {"words": np.array([self._words]), "sum": self._sum, "sum_sq": self._sum_sq}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore what `state_dict` returned."""
        self._words = int(state["words"][0])
        self._sum, self._sum_sq = np.array(state["sum"]), np.array(state["sum_sq"])

    def merge(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Add the `state` of another tally of the same layer."""
        self._words += int(state["words"][0])
        self._sum = self._sum + state["sum"]
        self._sum_sq = self._sum_sq + state["sum_sq"]

    def scale(self) -> NDArray[np.float32]:
        """Return (2, n_neurons) mean and standard deviation; all 0 without any word.

        In single precision, so that the order of the documents makes no difference.

        Raises:
            CaptureError: activations are not finite, or their squares overflow.
        """
        if not self._words:
            return np.zeros((2, len(self._sum)), np.float32)
        broken = np.flatnonzero(~(np.isfinite(self._sum) & np.isfinite(self._sum_sq)))
        if len(broken):
            raise CaptureError(
                f"layer {self.hook_point.layer!r}: activations of neuron {broken[0]} are not finite, or too large "
                "to be squared; the model's weights are broken, or its activations overflow"
            )
        mean = self._sum / self._words
        variance = np.maximum(self._sum_sq / self._words - mean**2, 0)
        # The rounding error of a constant neuron is not a deviation.
        variance[variance <= 1e-12 * mean**2] = 0
        return np.stack((mean, np.sqrt(variance))).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Scales:
    """Means, standard deviations and bins of neurons: measured before the pass, or those of another stage.

    Attributes:
        name: name of the stage, for error messages.
        table: polars table with columns layer, neuron, mean, deviation.
        edges: layer -> (n_neurons, n_bins - 1) bounds of the bins of activations, if they are counted.
    """

    name: str
    table: pl.DataFrame
    edges: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def edges_of(self, hook_point: HookPoint) -> NDArray[np.float32]:
        """Return the bounds of the bins of a layer.

        Raises:
            UsageError: the layer has none, or another number of neurons.
        """
        edges = self.edges.get(hook_point.layer)
        if edges is None or len(edges) != hook_point.n_neurons:
            known = "no bins" if edges is None else f"bins of {len(edges)} neurons"
            raise UsageError(
                f"stage {self.name!r}: has {known} of layer {hook_point.layer!r} with {hook_point.n_neurons} neurons; "
                "pass a stage of this layer collected with concepts"
            )
        return edges

    @classmethod
    def measured(cls, name: str, tallies: Iterable[ScaleTally]) -> Scales:
        """Return the scales measured by tallies.

        Raises:
            CaptureError: activations are not finite, or their squares overflow.
        """
        return cls(name, scale_table(replace(tally.hook_point, scale=tally.scale()) for tally in tallies))

    def applied_to(self, hook_points: Iterable[HookPoint]) -> list[HookPoint]:
        """Return the hook points, with scales where the selection standardizes.

        Raises:
            UsageError: a layer has no scales.
        """
        return [replace(point, scale=self._of(point)) for point in hook_points]

    def _of(self, hook_point: HookPoint) -> NDArray[np.float32] | None:
        if hook_point.selection.standardize != "zscore":
            return None
        rows = self.table.filter(pl.col("layer") == hook_point.layer).sort("neuron")
        if len(rows) != hook_point.n_neurons:
            raise UsageError(
                f"stage {self.name!r}: has scales of {len(rows)} neurons of layer {hook_point.layer!r} instead of "
                f"{hook_point.n_neurons}; pass a stage of this layer collected with a selection like "
                "'max-1/zscore'"
            )
        return np.stack((rows["mean"].to_numpy(), rows["deviation"].to_numpy())).astype(np.float32)


def scale_table(hook_points: Iterable[HookPoint]) -> pl.DataFrame:
    """Return the scales of all hook points that have them: columns layer, neuron, mean, deviation."""
    tables = [
        pl.DataFrame(
            {
                "layer": [hook_point.layer] * hook_point.scale.shape[1],
                "neuron": np.arange(hook_point.scale.shape[1]),
                "mean": hook_point.scale[0].astype(np.float64),
                "deviation": hook_point.scale[1].astype(np.float64),
            },
            schema=SCALE_SCHEMA,
        )
        for hook_point in hook_points
        if hook_point.scale is not None
    ]
    return pl.concat([pl.DataFrame(schema=SCALE_SCHEMA), *tables])
