"""Dry runs of a model: which modules run, how often, and the shapes of their tensors for two input sizes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import torch
from torch import Tensor

from txray.capture.forward.calls import Call, Trace, Value, tracing
from txray.capture.forward.hooks import Part, Side, evaluating
from txray.capture.forward.layout import DryRun, Layout
from txray.capture.model_adapter import ModelAdapter
from txray.errors import CaptureError, ShapeError, UsageError, in_one_line
from txray.models.base_model import input_device

_FIRST, _SECOND = (2, 11), (3, 17)
"""Documents and steps of the dry runs: four different numbers, so that each axis of an output can be recognized."""


@dataclass(frozen=True)
class Reading:
    """Address of a tensor in a forward pass: a module, its input or output, and the call.

    Attributes:
        layer: name of the module.
        side: input or output.
        part: part of the output; None for its first tensor.
        number: index of the call among all calls of the module; None for all calls, one per position.
    """

    layer: str
    side: Side = "output"
    part: Part | None = None
    number: int | None = -1

    @property
    def parts(self) -> tuple[Part, ...]:
        """Return the parts of outputs that a dry run must record."""
        return () if self.part is None else (self.part,)

    def values(self, trace: Trace) -> list[Value] | None:
        """Return the tensors of the calls in one dry run; None if a call has none."""
        calls = trace.all_calls(self.layer)
        values = list(map(self._value, calls if self.number is None else [calls[self.number]]))
        present = [value for value in values if value is not None]
        return present if len(present) == len(values) else None

    def tensor(self, trace: Trace) -> Tensor | None:
        """Return the tensor, or those of all calls stacked along axis 1; None if there is none."""
        values = self.values(trace)
        if values is None:
            return None
        if self.number is not None:
            return values[0].snapshot
        same = len({value.snapshot.shape for value in values}) == 1 and values[0].snapshot.dim() > 0
        return torch.stack([value.snapshot for value in values], dim=1) if same else None

    def _value(self, call: Call) -> Value | None:
        if self.side == "input":
            return call.input
        return call.output if self.part is None else call.parts.get(self.part)


@dataclass(frozen=True, eq=False)
class DryRuns:
    """Forward passes over a short input, over the same input again, and over a longer one.

    Attributes:
        first, again, second: calls of the modules, with the tensors of the watched ones.
        steps_first, steps_second: lengths of the inputs.
        autocast: dtype of the operations; None for that of the model.
        sources: results of the search for the inputs of experts, by the names of the modules concerned.
    """

    first: Trace
    again: Trace
    second: Trace
    steps_first: int
    steps_second: int
    autocast: torch.dtype | None
    sources: dict[tuple[str, ...], tuple[str, Side] | None] = field(default_factory=dict)

    @classmethod
    def of(cls, adapter: ModelAdapter, watched: Collection[str], parts: Collection[Part] = ()) -> DryRuns:
        """Return three dry runs of a model, with the tensors of the modules named in `watched`.

        `parts`: parts of their outputs that are recorded besides.

        Raises:
            UsageError: the model does not run with this autocast dtype.
            CaptureError: the model fails.
        """
        with evaluating(adapter.module, adapter.autocast):
            steps_second, second = _dry_run(adapter, watched, parts, *_SECOND)
            # Shorter by the same difference, even if the model cannot read the longer input whole.
            steps = max(1, steps_second - _SECOND[1] + _FIRST[1])
            steps_first, first = _dry_run(adapter, watched, parts, _FIRST[0], steps)
            _, again = _dry_run(adapter, watched, parts, _FIRST[0], steps)
        return cls(first, again, second, steps_first, steps_second, adapter.autocast)

    def positions(self) -> tuple[tuple[Trace, int], tuple[Trace, int]]:
        """Return the short and the long run with their numbers of positions."""
        return (self.first, _FIRST[0] * self.steps_first), (self.second, _SECOND[0] * self.steps_second)

    def shapes(self, reading: Reading) -> tuple[DryRun, DryRun] | None:
        """Return the shapes of the tensor in the short and the long run; None if there is none."""
        first, second = map(reading.tensor, (self.first, self.second))
        if first is None or second is None:
            return None
        return (
            DryRun(_FIRST[0], self.steps_first, tuple(first.shape)),
            DryRun(_SECOND[0], self.steps_second, tuple(second.shape)),
        )

    def changed(self, reading: Reading) -> bool:
        """Return whether the model changes the tensor in place afterwards."""
        runs = [reading.values(trace) or () for trace in (self.first, self.again, self.second)]
        return any(value.changed for values in runs for value in values)

    def random(self, reading: Reading) -> bool:
        """Return whether equal inputs gave different values, beyond rounding."""
        once, again = map(reading.tensor, (self.first, self.again))
        if once is None or again is None:
            return False
        return not _alike(once, again, self.autocast)

    def one_call_per_position(self, name: str) -> bool:
        """Return whether a module runs once per position of the input, as a recurrent cell in a loop does."""
        lengths = (self.steps_first, self.steps_first, self.steps_second)
        counts = tuple(len(trace.all_calls(name)) for trace in (self.first, self.again, self.second))
        return counts == lengths and self.steps_first < self.steps_second


def fills_windows(adapter: ModelAdapter, reading: Reading, layout: Layout, steps: int) -> bool:
    """Return whether an input of more positions than a layer has steps makes it longer by a window.

    A layer with as many steps for every short input may pad its input to a window, or may have steps that are no
    positions at all, such as the latents of a Perceiver.
    """
    with evaluating(adapter.module, adapter.autocast):
        read, trace = _dry_run(adapter, [reading.layer], reading.parts, _FIRST[0], steps + 1)
    tensor = reading.tensor(trace)
    if read <= steps or tensor is None:
        return False
    try:
        layout.arranged(tensor, _FIRST[0], read)
    except ShapeError:
        return False
    return True


def runs_in_text_order(adapter: ModelAdapter, reading: Reading) -> bool:
    """Return whether the call at each position depends on the text up to this position only.

    A loop that runs backwards sees the end of the text first.
    """
    tensors = []
    for changed_at_end in (False, True):
        watch = tracing(adapter.module, [reading.layer], reading.parts)
        with evaluating(adapter.module, adapter.autocast), watch as trace:
            position = adapter.dry_run_with_other_end(_FIRST[1], changed_at_end)
        tensors.append(reading.tensor(trace))
    one, two = tensors
    if one is None or two is None or one.shape != two.shape:
        return False
    differs = (one != two).flatten(2).any(dim=2).any(dim=0)
    return not bool(differs[:position].any()) and bool(differs[position])


def _alike(one: Tensor, two: Tensor, autocast: torch.dtype | None) -> bool:
    """Return whether two tensors are equal up to the rounding of sums, whose order the device chooses."""
    if one.shape != two.shape or one.dtype != two.dtype:
        return False
    if torch.equal(one, two):
        return True
    if not one.is_floating_point():
        return torch.equal(torch.view_as_real(one), torch.view_as_real(two)) if one.is_complex() else False
    precision = max(torch.finfo(dtype).eps for dtype in (one.dtype, autocast) if dtype is not None)
    one, two = one.double(), two.double()
    size = one[torch.isfinite(one)].abs().max().item() if torch.isfinite(one).any() else 0.0
    return torch.allclose(one, two, rtol=0, atol=precision**0.5 * size, equal_nan=True)


def _dry_run(
    adapter: ModelAdapter, watched: Collection[str], parts: Collection[Part], documents: int, steps: int
) -> tuple[int, Trace]:
    """Return the number of steps that the model read, and the calls of its modules."""
    with tracing(adapter.module, watched, parts) as trace:
        try:
            steps = adapter.dry_run(documents, steps)
        except (RuntimeError, CaptureError) as error:
            if adapter.autocast is None:
                raise
            raise UsageError(
                f"autocast={adapter.settings['autocast']!r}: the model does not run with it on "
                f"{input_device(adapter.module)} ({in_one_line(error, limit=120)}); choose another dtype, "
                "or omit autocast"
            ) from error
    return steps, trace
