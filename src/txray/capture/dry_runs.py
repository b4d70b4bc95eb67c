"""Dry runs of a model: which modules run, how often, and the shapes of their tensors for two input sizes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import torch
from torch import Tensor

from txray.capture.calls import Trace, Value, tracing
from txray.capture.hooks import Side, evaluating
from txray.capture.layout import DryRun
from txray.capture.model_adapter import ModelAdapter
from txray.errors import CaptureError, UsageError, in_one_line
from txray.models.base_model import input_device

_FIRST, _SECOND = (2, 11), (3, 17)
"""Documents and steps of the dry runs: four different numbers, so that each axis of an output can be recognized."""


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
    def of(cls, adapter: ModelAdapter, watched: Collection[str]) -> DryRuns:
        """Return three dry runs of a model, with the tensors of the modules named in `watched`.

        Raises:
            UsageError: the model does not run with this autocast dtype.
            CaptureError: the model fails.
        """
        with evaluating(adapter.module, adapter.autocast):
            steps_second, second = _dry_run(adapter, watched, *_SECOND)
            # Shorter by the same difference, even if the model cannot read the longer input whole.
            steps = max(1, steps_second - _SECOND[1] + _FIRST[1])
            steps_first, first = _dry_run(adapter, watched, _FIRST[0], steps)
            _, again = _dry_run(adapter, watched, _FIRST[0], steps)
        return cls(first, again, second, steps_first, steps_second, adapter.autocast)

    def positions(self) -> tuple[tuple[Trace, int], tuple[Trace, int]]:
        """Return the short and the long run with their numbers of positions."""
        return (self.first, _FIRST[0] * self.steps_first), (self.second, _SECOND[0] * self.steps_second)

    def shapes(self, name: str, number: int, side: Side) -> tuple[DryRun, DryRun] | None:
        """Return the shapes of one call's tensor in the short and the long run; None if it has no tensor."""
        first, second = (_value(trace, name, number, side) for trace in (self.first, self.second))
        if first is None or second is None:
            return None
        return (
            DryRun(_FIRST[0], self.steps_first, tuple(first.snapshot.shape)),
            DryRun(_SECOND[0], self.steps_second, tuple(second.snapshot.shape)),
        )

    def changed(self, name: str, number: int, side: Side) -> bool:
        """Return whether the model changes the tensor in place afterwards."""
        values = [_value(trace, name, number, side) for trace in (self.first, self.again, self.second)]
        return any(value is not None and value.changed for value in values)

    def random(self, name: str, number: int, side: Side) -> bool:
        """Return whether equal inputs gave different values, beyond rounding."""
        once, again = (_value(trace, name, number, side) for trace in (self.first, self.again))
        if once is None or again is None:
            return False
        return not _alike(once.snapshot, again.snapshot, self.autocast)


def _value(trace: Trace, name: str, number: int, side: Side) -> Value | None:
    call = trace.all_calls(name)[number]
    return call.input if side == "input" else call.output


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
    adapter: ModelAdapter, watched: Collection[str], documents: int, steps: int
) -> tuple[int, Trace]:
    """Return the number of steps that the model read, and the calls of its modules."""
    with tracing(adapter.module, watched) as trace:
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
