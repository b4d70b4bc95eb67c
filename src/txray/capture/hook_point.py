"""A hook point: one tensor of a model, its layout, and how it becomes activations of words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from txray.capture.activations import WordGroups, pooled, pooled_at
from txray.capture.forward.hooks import Tap
from txray.capture.forward.layout import Layout
from txray.capture.forward.routes import RoutedRows
from txray.capture.forward.through import Through
from txray.capture.selection import Selection
from txray.capture.source import Outputs
from txray.capture.text.encoding import Indices
from txray.capture.text.features import SUBWORD
from txray.capture.text.forward_chunk import ForwardChunk
from txray.errors import CaptureError, ShapeError, UsageError
from txray.preferences.output_tokens import OUTPUT

_UNITS = 1 << 23
"""Outputs of a module through which a layer is read that are computed at a time: 512 words of 16,384 latents."""

THROUGH = ":through="
"""Precedes the name of a module through which a layer was read, in the name of the layer in a stage."""

_CONSTANT = 1e-6
"""Standard deviation, relative to that of the layer, below which a neuron counts as constant."""

LayerOutput = Tensor | RoutedRows
"""What a hook point takes from a forward pass: a tensor, or the rows that an expert saw."""


@dataclass(frozen=True, eq=False)
class ChunkActivations:
    """The activations of a hook point in one chunk.

    Attributes:
        chunk: the words that the model read.
        flat: (documents * time, neurons) activations, standardized and signed.
        covered: (n_words,) which words of the chunk lie fully within the layer's output.
        groups: the covered words, as groups of rows of `flat`.
        not_routed: number of words of which an expert saw no piece; they are not covered either.
        pieces: (n_pieces,) which pieces of the covered words are in their groups; None for all.
        raw: as `flat`, neither standardized nor signed; None if `flat` is.
    """

    chunk: ForwardChunk
    flat: Tensor
    covered: NDArray[np.bool_]
    groups: WordGroups
    not_routed: int = 0
    pieces: NDArray[np.bool_] | None = None
    raw: Tensor | None = None

    def of_words(self) -> Tensor:
        """Return (n_covered, n_neurons) the activations of the covered words, pooled over their pieces."""
        return pooled(self.flat, self.groups)

    def raw_of_words(self) -> Tensor:
        """Return (n_covered, n_neurons) the activations of the covered words, neither standardized nor signed."""
        return pooled(self.flat if self.raw is None else self.raw, self.groups)

    def at(self, group: Indices, neuron: Indices) -> NDArray[np.floating]:
        """Return the (n,) activations of single neurons at single words, without pooling the others."""
        return pooled_at(self.flat, self.groups, group, neuron)


@dataclass(frozen=True)
class HookPoint:
    """One hooked tensor of a model, and how its activations are read.

    Attributes:
        layer: name in the stage: the name of the module and its options, such as `act:call=1`.
        tap: the tensor of the forward pass.
        layout: layout of that tensor.
        lag: time steps by which the output lags behind the input.
        pooling: how the pieces of a word are combined.
        selection: which activations count.
        scale: (2, n_neurons) mean and standard deviation of each neuron, if the selection standardizes.
        call: index of the call under the layer's name, from 0.
        calls: number of these calls in a forward pass.
        call_assumed: whether there are several calls, and none was chosen.
        random: whether two equal dry runs gave different activations.
        through: module whose outputs, computed from the activations, are the neurons; None if they are those of the
            layer.
        heads: number of attention heads, if they are the units of the layer; None if its elements are.
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
    through: Through | None = None
    heads: int | None = None

    @property
    def n_neurons(self) -> int:
        """Return the number of neurons whose activations are read."""
        return self.through.n_units if self.through is not None else self.heads or self.layout.neurons

    @property
    def own_layer(self) -> str:
        """Return the name of the layer itself, without the module through which it is read."""
        return (
            self.layer if self.through is None else self.layer.removesuffix(f"{THROUGH}{self.through.name}")
        )

    def take(self, captured: Outputs) -> LayerOutput:
        """Return the tensor of the latest forward pass, or the rows of an expert."""
        return captured.take(self.layer) if self.tap.route is None else captured.take_routed(self.layer)

    def read(self, output: LayerOutput, chunk: ForwardChunk) -> Iterator[ChunkActivations]:
        """Yield the activations of the words of a chunk, in parts if they are read through a module.

        Raises:
            CaptureError: the output has an unexpected shape, or complex numbers, or it is unknown which words an
                expert saw; the module fails.
        """
        if isinstance(output, RoutedRows):
            yield self._read_routed(output, chunk)
            return
        flat, steps = self.flat(output, len(chunk.batch), chunk.steps)
        if self.through is None:
            yield ChunkActivations(chunk, self._signed(flat), *self._covered_words(chunk, steps), raw=flat)
            return
        for part in chunk.parts(max(1, _UNITS // self.n_neurons)):
            covered, groups = self._covered_words(part, steps)
            rows = flat[torch.from_numpy(groups.rows).to(flat.device)]
            units = self.through.encode(rows, self.layer)
            if units.shape != (len(rows), self.n_neurons):
                raise CaptureError(
                    f"layer {self.layer!r}: module {self.through.name!r} gives {tuple(units.shape)} instead of "
                    f"{(len(rows), self.n_neurons)} as in the dry run; pass one that treats rows independently"
                )
            rows_of_units = WordGroups(np.arange(len(rows)), groups.starts, self.pooling)
            yield ChunkActivations(part, self._signed(units), covered, rows_of_units, raw=units)

    def _read_routed(self, rows: RoutedRows, chunk: ForwardChunk) -> ChunkActivations:
        """Return the activations of the words of which an expert saw at least one piece, from these pieces alone."""
        raw = self._of_positions(rows, len(chunk.batch), chunk.steps)
        values = self._signed(raw)
        covered, groups = self._covered_words(chunk, chunk.steps)
        if rows.ambiguous is not None and np.isin(groups.rows, rows.ambiguous.cpu().numpy()).any():
            raise CaptureError(
                f"layer {self.layer!r}: the expert saw some of several positions with equal inputs, so it is unknown "
                "which; collect smaller batches, or a layer that sees every position"
            )
        row_of_position = np.full(rows.total, -1)
        row_of_position[rows.positions.cpu().numpy()] = np.arange(len(values))
        row = row_of_position[groups.rows]
        seen = row >= 0
        word = np.repeat(np.arange(len(groups)), groups.sizes)
        sizes = np.bincount(word[seen], minlength=len(groups))
        routed = sizes > 0
        covered = covered.copy()
        covered[covered] = routed
        starts = np.cumsum(sizes[routed]) - sizes[routed]
        return ChunkActivations(
            chunk,
            values,
            covered,
            WordGroups(row[seen], starts, self.pooling),
            not_routed=int((~routed).sum()),
            pieces=seen[routed[word]],
            raw=raw,
        )

    def _of_positions(self, rows: RoutedRows, documents: int, steps: int) -> Tensor:
        """Return the (n_routed, neurons) activations of an expert, neither standardized nor signed."""
        if rows.total != documents * steps:
            raise CaptureError(
                f"layer {self.layer!r}: {rows.total} positions were routed to experts, for {documents} inputs of "
                f"{steps} positions, so its rows cannot be matched to words; choose another layer"
            )
        return self._real(rows.values)

    def by_position(self, output: LayerOutput, documents: int, steps: int) -> tuple[Tensor, int]:
        """Return activations as `flat` does, those of an expert with zeros at the positions that it did not see."""
        if not isinstance(output, RoutedRows):
            return self.flat(output, documents, steps)
        values = self._signed(self._of_positions(output, documents, steps))
        dense = values.new_zeros((output.total, values.shape[1]))
        dense[output.positions] = values
        return dense, steps

    def flat(self, output: Tensor, documents: int, steps: int) -> tuple[Tensor, int]:
        """Return the layer's own activations as (documents * time, neurons), and their time steps.

        Args:
            output: output of the layer.
            documents, steps: size of the input.

        Raises:
            CaptureError: the output has an unexpected shape, or complex numbers.
        """
        try:
            arranged = self.layout.arranged(output, documents, steps)
        except ShapeError as error:
            raise CaptureError(
                f"layer {self.layer!r}: {error}, for {documents} inputs of {steps} positions: it does not see every "
                "position of every input, so its rows cannot be matched to words; choose another layer"
            ) from error
        return self._real(arranged.reshape(-1, self.layout.neurons)), arranged.shape[1]

    def _real(self, flat: Tensor) -> Tensor:
        """Return activations as real numbers, those of attention heads as their norms."""
        if flat.is_complex():
            raise CaptureError(
                f"layer {self.layer!r}: returns complex numbers, which have no order; choose another layer"
            )
        if flat.dtype is torch.bool:
            flat = flat.float()
        if self.heads is not None:
            flat = torch.linalg.vector_norm(flat.reshape(len(flat), self.heads, -1), dim=-1)
        return flat

    def _signed(self, flat: Tensor) -> Tensor:
        """Return activations standardized and signed as the selection says."""
        if self.scale is not None:
            mean, deviation = torch.from_numpy(self.scale).to(flat.device)
            # A constant neuron has no standard score.
            varying = torch.from_numpy(~self.constant).to(flat.device)
            flat = torch.where(varying, (flat - mean) / deviation, 0)
        match self.selection.sign:
            case "absolute":
                flat = flat.abs()
            case "negative":
                flat = -flat
        return flat

    def positions(self, chunk: ForwardChunk, steps: int) -> tuple[Indices, NDArray[np.bool_]]:
        """Return (n_pieces,) the row of each piece of a chunk in the flat output, and whether it is in there."""
        step = chunk.step + self.lag
        row = np.repeat(chunk.row, np.diff(chunk.starts, append=len(step)))
        # If the output lacks some steps, its last ones for a shorter input have seen padding.
        inside = (step >= 0) & (step < chunk.lengths[row] - self.layout.missing) & (step < steps)
        return row * steps + step, inside

    def _covered_words(self, chunk: ForwardChunk, steps: int) -> tuple[NDArray[np.bool_], WordGroups]:
        """Return (n_words,) which words of a chunk lie fully within the layer's output, and those words as groups."""
        rows, inside = self.positions(chunk, steps)
        groups = WordGroups(rows, chunk.starts, self.pooling)
        if inside.all():
            return np.ones(len(groups), np.bool_), groups
        covered = np.logical_and.reduceat(inside, chunk.starts)
        return covered, groups.where(covered)

    def settings(self) -> dict[str, Any]:
        """Return what the result depends on besides the layer, as plain JSON values."""
        settings = {
            "selection": str(self.selection),
            "layout": self.layout.axes,
            "shift": self.lag,
            "of": self.tap.side,
            "call": self.call,
            "calls": self.calls,
            "call_assumed": self.call_assumed,
            **({} if self.through is None else {"through": self.through.settings}),
            **({} if self.tap.route is None else {"expert": self.tap.route.expert}),
        }
        if self.tap.part is not None:
            settings["part"] = self.tap.part
        if self.heads is not None:
            settings |= {"units": "head", "heads": self.heads}
        if self.tap.stacked:
            settings["stacked"] = True
        return settings

    def observations(self) -> dict[str, Any]:
        """Return what was observed about the layer, as plain JSON values."""
        return {"random": self.random, "constant": np.flatnonzero(self.constant).tolist()}

    @cached_property
    def constant(self) -> NDArray[np.bool_]:
        """Return (n_neurons,) True for neurons that hardly vary compared with the layer: they have no standard score.

        All False if the selection does not standardize. The deviation of the layer is the 90th percentile over its
        varying neurons, which neither dead neurons nor a few far stronger ones change much.
        """
        if self.scale is None:
            return np.zeros(self.n_neurons, np.bool_)
        deviation = self.scale[1].astype(np.float64)
        varying = deviation[deviation > 0]
        threshold = _CONSTANT * np.quantile(varying, 0.9) if len(varying) else 0.0
        return np.asarray(deviation <= threshold)

    def require_supported(self, feature_types: Sequence[str]) -> None:
        """Raise if the selection does not support a feature type.

        Raises:
            UsageError: `max-position` supports only features of whole words.
        """
        refused = [feature_type for feature_type in feature_types if feature_type in (OUTPUT, SUBWORD)]
        if self.selection.rule == "max-position" and refused:
            raise UsageError(
                f"layer {self.layer!r}: selection 'max-position' does not support the feature type {refused[0]!r}; "
                "omit it, or choose another selection"
            )
