"""Where activations come from: one layer, how it lays them out, and which of them count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from txray.capture.activations import WordGroups
from txray.capture.features import OUTPUT, SUBWORD
from txray.capture.hooks import Tap
from txray.capture.layout import Layout
from txray.capture.model_adapter import ForwardChunk
from txray.capture.selection import Selection
from txray.errors import CaptureError, ShapeError, UsageError

_CONSTANT = 1e-6
"""Standard deviation, relative to that of the layer, below which a neuron counts as constant."""


@dataclass(frozen=True)
class HookPoint:
    """Where activations come from, and how they are read.

    Attributes:
        layer: what it is called: the name of the module, and what else was requested for, such as `act:call=1`.
        tap: which tensor of the forward pass it is.
        layout: of that tensor.
        lag: time steps by which its output lags behind the input.
        pooling: which activation a word of several pieces has.
        selection: which activations count.
        scale: (2, n_neurons) mean and standard deviation of each neuron, where the selection standardizes.
        call: which of the calls under the layer's name, from 0.
        calls: how many there are in a forward pass.
        call_assumed: whether there are several, and nobody said which.
        random: whether two equal dry runs gave different activations.
    """

    layer: str
    tap: Tap
    layout: Layout
    lag: int
    pooling: str
    selection: Selection
    scale: NDArray[np.float32] | None = None
    call: int = 0
    calls: int = 1
    call_assumed: bool = False
    random: bool = False

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
            moving = torch.from_numpy(~self.constant).to(flat.device)
            flat = torch.where(moving, (flat - mean) / deviation, 0)
        match self.selection.sign:
            case "absolute":
                flat = flat.abs()
            case "negative":
                flat = -flat
        return flat, arranged.shape[1]

    def covered_words(self, chunk: ForwardChunk, steps: int) -> tuple[NDArray[np.bool_], WordGroups]:
        """Which words of a chunk the layer's output covers wholly, and those as groups."""
        step = chunk.step + self.lag
        row = chunk.piece_row
        # An output that lacks some steps has seen padding in as many at the end of a shorter input.
        covered = (step >= 0) & (step < chunk.lengths[row] - self.layout.missing) & (step < steps)
        if covered.all():
            everything = np.ones(len(chunk.row), np.bool_)
            return everything, WordGroups(row * steps + step, chunk.starts, self.pooling)
        whole = np.logical_and.reduceat(covered, chunk.starts)
        sizes = np.diff(chunk.starts, append=len(step))
        kept = np.repeat(whole, sizes)
        starts = np.cumsum(sizes[whole]) - sizes[whole]
        return whole, WordGroups((row * steps + step)[kept], starts, self.pooling)

    def described(self) -> dict[str, Any]:
        """What the result depends on besides the layer, as plain JSON values."""
        return {
            "selection": str(self.selection),
            "layout": self.layout.axes,
            "shift": self.lag,
            "of": self.tap.side,
            "call": self.call,
            "calls": self.calls,
            "call_assumed": self.call_assumed,
        }

    def observed(self) -> dict[str, Any]:
        """Return what was noticed of the layer, as plain JSON values."""
        return {"random": self.random, "constant": np.flatnonzero(self.constant).tolist()}

    @cached_property
    def constant(self) -> NDArray[np.bool_]:
        """Return (n_neurons,) True for neurons that hardly move compared with the layer: they have no standard score.

        All False where the selection does not standardize. The deviation of the layer is the one that a tenth of the
        neurons that move at all exceed: neither dead neurons nor a few far stronger ones change it much.
        """
        if self.scale is None:
            return np.zeros(self.layout.neurons, np.bool_)
        deviation = self.scale[1].astype(np.float64)
        moving = deviation[deviation > 0]
        least = _CONSTANT * np.quantile(moving, 0.9) if len(moving) else 0.0
        return np.asarray(deviation <= least)

    def require(self, feature_types: Sequence[str]) -> None:
        """Refuse feature types that the selection cannot give.

        Raises:
            UsageError: `max-position` looks at whole words of whole documents.
        """
        refused = [feature_type for feature_type in feature_types if feature_type in (OUTPUT, SUBWORD)]
        if self.selection.rule == "max-position" and refused:
            raise UsageError(
                f"layer {self.layer!r}: selection 'max-position' gives no feature {refused[0]!r}; leave it out, or "
                "choose another selection"
            )
