"""The layout of a layer's activations, determined by two dry runs of different size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal, get_args

from torch import Tensor

from txray.errors import CaptureError, ShapeError, UnknownNameError

Axes = Literal[
    "auto",
    "batch-time-neurons",
    "batch-neurons-time",
    "time-batch-neurons",
    "flat",
    "batch-time-heads-neurons",
    "batch-heads-time-neurons",
]
"""Order of the axes of a layer's output; `auto`: determined by dry runs."""
AXES: tuple[Axes, ...] = get_args(Axes)

_ORDERS: Mapping[Axes, tuple[int, int, tuple[int, ...]]] = {
    "batch-time-neurons": (0, 1, (2,)),
    "batch-neurons-time": (0, 2, (1,)),
    "time-batch-neurons": (1, 0, (2,)),
    "flat": (0, 0, (1,)),
    "batch-time-heads-neurons": (0, 1, (2, 3)),
    "batch-heads-time-neurons": (0, 2, (1, 3)),
}
"""Axes of the documents, the time steps, and the neurons: the elements of all heads, head by head."""

_MAX_AXES = 8
"""Maximum number of axes of an output: the ways to drop axes of size 1 grow quickly with it."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The axes of a layer's output.

    Attributes:
        axes: order of documents, time steps and neurons; `flat`: documents and time steps in one axis, then neurons.
        neurons: number of neurons.
        missing: number of time steps by which the output is shorter than the input, as in a convolution without
            padding; negative if it is longer, as in a model that puts an extra step before the text.
        dropped: additional axes of size 1, such as the remaining width of a two-dimensional convolution.
        heads: size of the axis of heads; None if there is none.
        windows: if the model pads its input at the end to a multiple of a window, the windows that agree with the dry
            runs, mostly one; otherwise empty.
    """

    axes: Axes
    neurons: int
    missing: int = 0
    dropped: tuple[int, ...] = ()
    heads: int | None = None
    windows: tuple[int, ...] = ()

    @property
    def neuron_axes(self) -> tuple[int, ...]:
        """Return the axes of the neurons: one, or that of the heads and that of their elements."""
        documents, time, neurons = _ORDERS[self.axes]
        n_axes = len({documents, time, *neurons}) + len(self.dropped)
        remaining = [axis for axis in range(n_axes) if axis not in self.dropped]
        return tuple(remaining[axis] for axis in neurons)

    @property
    def time_axis(self) -> int:
        """Return the axis of the time steps."""
        n_axes = len(_ORDERS[self.axes][2]) + 2 + len(self.dropped)
        return [axis for axis in range(n_axes) if axis not in self.dropped][_ORDERS[self.axes][1]]

    def neurons_last(self, output: Tensor) -> Tensor:
        """Return the output with the neurons, of all heads, in its last axis."""
        axes = self.neuron_axes
        moved = output.movedim(axes, tuple(range(-len(axes), 0)))
        return moved.flatten(-2) if len(axes) == 2 else moved

    def neurons_back(self, moved: Tensor) -> Tensor:
        """Return a tensor as made by `neurons_last` with its axes in the order of the output."""
        axes = self.neuron_axes
        if self.heads is not None:
            moved = moved.reshape(*moved.shape[:-1], self.heads, -1)
        return moved.movedim(tuple(range(-len(axes), 0)), axes)

    def arranged(self, output: Tensor, documents: int, steps: int) -> Tensor:
        """Return the output for an input of this size as (documents, time, neurons), without a copy if possible.

        Raises:
            ShapeError: the output has another shape than the dry runs predict.
        """
        times = [-(-steps // window) * window for window in self.windows]
        # Some models leave an input that is shorter than a window as it is.
        times += [steps] if any(steps < window for window in self.windows) else []
        times = times or [steps - self.missing]
        shapes = [self._shape(documents, time) for time in times]
        shape = tuple(output.shape)
        if shape not in shapes:
            raise ShapeError(f"returned {shape} instead of {shapes[0]} as in the dry run")
        time = times[shapes.index(shape)]
        if self.dropped:
            output = output.squeeze(self.dropped)
        if self.axes == "flat":
            return output.reshape(documents, time, self.neurons)
        first, second, neurons = _ORDERS[self.axes]
        return output.permute(first, second, *neurons).reshape(documents, time, self.neurons)

    def _shape(self, documents: int, time: int) -> tuple[int, ...]:
        """Return the shape of an output."""
        if self.axes == "flat":
            shape: tuple[int, ...] = (documents * time, self.neurons)
        else:
            sizes = [documents, time, self.neurons]
            if self.heads is not None:
                sizes[2:] = self.heads, self.neurons // self.heads
            first, second, neurons = _ORDERS[self.axes]
            order = (first, second, *neurons)
            shape = tuple(sizes[order.index(axis)] for axis in range(len(order)))
        for axis in self.dropped:
            shape = (*shape[:axis], 1, *shape[axis:])
        return shape


@dataclass(frozen=True, slots=True)
class DryRun:
    """One layer's output for an input of known size.

    Attributes:
        documents, steps: size of the input.
        shape: shape of the output.
    """

    documents: int
    steps: int
    shape: tuple[int, ...]

    def without(self, axes: tuple[int, ...]) -> DryRun:
        """Return a copy without some axes of the output."""
        shape = tuple(size for axis, size in enumerate(self.shape) if axis not in axes)
        return DryRun(self.documents, self.steps, shape)


def layout_of(
    layer: str, first: DryRun, second: DryRun, axes: Axes = "auto", verb: str = "returns"
) -> Layout:
    """Return the layout of a layer, recognized by the sizes that change between two dry runs.

    Args:
        layer: name of the layer, for errors.
        first, second: dry runs with different numbers of documents and of steps.
        axes: known order of the axes, or `auto`.
        verb: what the layer does with the tensor, for errors.

    Returns:
        The layout. Axes of size 1 that are neither documents, time nor neurons are dropped, the last of them first.

    Raises:
        UnknownNameError: unknown order of axes.
        CaptureError: the output has no activations per position, or not in this order.
    """
    if axes not in AXES:
        raise UnknownNameError.of("layout", axes, AXES)
    # An output that is as long as the text, or differs by a constant, before one that is padded to windows.
    for fit in (_fit, _fit_windows):
        for order in AXES[1:]:
            if axes not in ("auto", order):
                continue
            for dropped in _droppable(first, second, len(set(_axes_of(order)))):
                layout = fit(order, first.without(dropped), second.without(dropped))
                if layout is not None:
                    return replace(layout, dropped=dropped)
    expected = "(documents, time, neurons), in any order" if axes == "auto" else axes
    raise CaptureError(
        f"layer {layer!r}: {verb} {first.shape} for {first.documents} documents of {first.steps} positions and "
        f"{second.shape} for {second.documents} of {second.steps}; collection needs {expected}, one activation "
        "per position; choose a layer before the pooling"
    )


def _droppable(first: DryRun, second: DryRun, remaining: int) -> Iterator[tuple[int, ...]]:
    """Yield every choice of axes of size 1 to drop that leaves `remaining` axes, the last axes first."""
    axes = len(first.shape)
    if axes != len(second.shape) or not remaining <= axes <= _MAX_AXES:
        return
    ones = [axis for axis in range(axes) if first.shape[axis] == second.shape[axis] == 1]
    for dropped in combinations(reversed(ones), axes - remaining):
        yield tuple(sorted(dropped))


def _axes_of(order: Axes) -> tuple[int, ...]:
    documents, time, neurons = _ORDERS[order]
    return (documents, time, *neurons)


def _fit(axes: Axes, first: DryRun, second: DryRun) -> Layout | None:
    """Return the layout of outputs without axes to drop, or None if they do not have this order."""
    runs = (first, second)
    if axes == "flat":
        if any(run.shape[0] != run.documents * run.steps for run in runs):
            return None
        return Layout(axes, first.shape[1]) if first.shape[1] == second.shape[1] else None
    time = _ORDERS[axes][1]
    missing = [run.steps - run.shape[time] for run in runs]
    layout = _without_time(axes, first, second)
    return replace(layout, missing=missing[0]) if layout and missing[0] == missing[1] else None


def _fit_windows(axes: Axes, first: DryRun, second: DryRun) -> Layout | None:
    """Return the layout of outputs whose time steps are padded to a multiple of a window, or None."""
    layout = None if axes == "flat" else _without_time(axes, first, second)
    if layout is None:
        return None
    time = _ORDERS[axes][1]
    windows = [
        window
        for window in range(2, first.shape[time] + 1)
        if all(-(-run.steps // window) * window == run.shape[time] for run in (first, second))
    ]
    return replace(layout, windows=tuple(windows)) if windows else None


def _without_time(axes: Axes, first: DryRun, second: DryRun) -> Layout | None:
    """Return the layout of outputs in this order, whatever their time steps, or None."""
    documents, _, neurons = _ORDERS[axes]
    sizes = [[run.shape[axis] for axis in neurons] for run in (first, second)]
    if any(run.shape[documents] != run.documents for run in (first, second)) or sizes[0] != sizes[1]:
        return None
    return Layout(axes, math.prod(sizes[0]), heads=sizes[0][0] if len(neurons) == 2 else None)
