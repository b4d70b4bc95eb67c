"""Dry runs of a model: which modules run, how often, and what they give for inputs of different size."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from txray.capture.calls import Call, Trace, tracing
from txray.capture.hooks import Side, evaluating
from txray.capture.layout import DryRun
from txray.capture.model_adapter import ModelAdapter
from txray.errors import CaptureError, UsageError, in_one_line
from txray.models.base_model import input_device

_FIRST, _SECOND = (2, 11), (3, 17)
"""Documents and steps of the dry runs: four different numbers, so that each axis of an output is recognized."""


@dataclass(frozen=True, eq=False)
class DryRuns:
    """Forward passes over a short input, over the same input again, and over a longer one.

    Attributes:
        first, again, second: which modules ran, and what the watched ones took and gave.
        steps_first, steps_second: of the inputs.
        autocast: number type of the operations, where it is not that of the model.
    """

    first: Trace
    again: Trace
    second: Trace
    steps_first: int
    steps_second: int
    autocast: torch.dtype | None

    @classmethod
    def of(cls, adapter: ModelAdapter, watched: Collection[str]) -> DryRuns:
        """Run the model of a adapter.

        Args:
            adapter: of the model.
            watched: names of the modules whose tensors are wanted.

        Raises:
            UsageError: the model does not run in the number type requested for.
            CaptureError: the model fails.
        """
        with evaluating(adapter.module, adapter.autocast):
            steps_second, second = _dry_run(adapter, watched, *_SECOND)
            # As much shorter as it would be if the model could read the longer one whole.
            wanted = max(1, steps_second - _SECOND[1] + _FIRST[1])
            steps_first, first = _dry_run(adapter, watched, _FIRST[0], wanted)
            _, again = _dry_run(adapter, watched, _FIRST[0], wanted)
        return cls(first, again, second, steps_first, steps_second, adapter.autocast)

    def shapes(self, name: str, number: int, side: Side) -> tuple[DryRun, DryRun] | None:
        """Return what one call of a module took or gave in the short and the long run; None where it was no tensor."""
        runs = []
        for trace, documents, steps in (
            (self.first, _FIRST[0], self.steps_first),
            (self.second, _SECOND[0], self.steps_second),
        ):
            value = _call(trace, name, number).value(side)
            if value is None:
                return None
            runs.append(DryRun(documents, steps, tuple(value.then.shape)))
        return runs[0], runs[1]

    def changed(self, name: str, number: int, side: Side) -> bool:
        """Return whether the model changes the tensor in place afterwards."""
        values = [_call(trace, name, number).value(side) for trace in (self.first, self.again, self.second)]
        return any(value is not None and value.changed for value in values)

    def random(self, name: str, number: int, side: Side) -> bool:
        """Return whether equal inputs gave different values, beyond rounding."""
        one, two = (_call(trace, name, number).value(side) for trace in (self.first, self.again))
        return one is not None and two is not None and not _alike(one.then, two.then, self.autocast)


def _call(trace: Trace, name: str, number: int) -> Call:
    return trace.all_calls(name)[number]


def _alike(one: Tensor, two: Tensor, autocast: torch.dtype | None) -> bool:
    """Return whether two tensors are equal, or nearly so where the order of summation is left to the device."""
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
    """Return the steps that the model read, and what ran."""
    with tracing(adapter.module, watched) as trace:
        try:
            steps = adapter.dry_run(documents, steps)
        except (RuntimeError, CaptureError) as error:
            if adapter.autocast is None:
                raise
            raise UsageError(
                f"autocast={adapter.settings['autocast']!r}: the model does not run in it on "
                f"{input_device(adapter.module)} ({in_one_line(error, 120)}); choose another, or leave it out"
            ) from error
    return steps, trace
