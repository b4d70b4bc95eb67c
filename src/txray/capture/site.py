"""Where activations come from: one layer, how it lays them out, and which of them count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from txray.capture.features import OUTPUT, SUBWORD
from txray.capture.layout import Layout
from txray.capture.reading import Window
from txray.capture.responses import Units
from txray.capture.selection import Selection
from txray.errors import CaptureError, ShapeError, UsageError


@dataclass(frozen=True)
class Site:
    """Where activations come from, and how they are read.

    Attributes:
        layer: name of the module.
        layout: of its output.
        shift: time steps by which its output lags behind the input.
        pooling: which activation a word of several pieces has.
        selection: which activations count.
        scale: (2, n_neurons) mean and standard deviation of each neuron, where the selection standardizes.
        copied: whether the model changes the layer's output in place afterwards.
    """

    layer: str
    layout: Layout
    shift: int
    pooling: str
    selection: Selection
    scale: NDArray[np.float32] | None = None
    copied: bool = False

    def flat(self, output: Tensor, documents: int, steps: int) -> tuple[Tensor, int]:
        """Activations as (documents * time, neurons), standardized and signed; and the time steps.

        Args:
            output: of the layer.
            documents: in the batch.
            steps: time steps of the input.

        Raises:
            CaptureError: an output of another size than foretold, or of complex numbers.
        """
        try:
            arranged = self.layout.arranged(output, documents, steps)
        except ShapeError as error:
            raise CaptureError(
                f"layer {self.layer!r}: {error}, for {documents} inputs of {steps} positions: it does not see every "
                "position of every input, so nobody can tell which is which; choose another layer"
            ) from error
        if arranged.is_complex():
            raise CaptureError(f"layer {self.layer!r}: gives complex numbers, which have no order")
        flat = arranged.reshape(-1, self.layout.neurons)
        if flat.dtype is torch.bool:
            flat = flat.float()
        if self.scale is not None:
            mean, deviation = torch.from_numpy(self.scale).to(flat.device)
            # A neuron that never moves has no standard score.
            flat = torch.where(deviation > 0, (flat - mean) / deviation, 0)
        match self.selection.sign:
            case "absolute":
                flat = flat.abs()
            case "negative":
                flat = -flat
        return flat, arranged.shape[1]

    def inside(self, window: Window, steps: int) -> tuple[NDArray[np.bool_], Units]:
        """Which words of a window the layer's output covers wholly, and those as units."""
        step = window.step + self.shift
        row = window.piece_row
        # An output that lacks some steps has seen padding in as many at the end of a shorter input.
        covered = (step >= 0) & (step < window.lengths[row] - max(self.layout.missing, 0)) & (step < steps)
        if covered.all():
            everything = np.ones(len(window.row), np.bool_)
            return everything, Units(row * steps + step, window.starts, self.pooling)
        whole = np.logical_and.reduceat(covered, window.starts)
        sizes = np.diff(window.starts, append=len(step))
        kept = np.repeat(whole, sizes)
        starts = np.cumsum(sizes[whole]) - sizes[whole]
        return whole, Units((row * steps + step)[kept], starts, self.pooling)

    def described(self) -> dict[str, Any]:
        """What the result depends on besides the layer, as plain JSON values."""
        return {"selection": str(self.selection), "layout": self.layout.axes, "shift": self.shift}

    def require(self, features: Sequence[str]) -> None:
        """Refuse kinds of feature that the selection cannot give.

        Raises:
            UsageError: `max-position` looks at whole words of whole documents.
        """
        refused = [kind for kind in features if kind in (OUTPUT, SUBWORD)]
        if self.selection.rule == "max-position" and refused:
            raise UsageError(
                f"layer {self.layer!r}: selection 'max-position' gives no feature {refused[0]!r}; leave it out, or "
                "choose another selection"
            )
