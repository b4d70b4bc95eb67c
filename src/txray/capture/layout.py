"""The layout of a layer's activations, determined by two dry runs of different size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal, get_args

from torch import Tensor

from txray.errors import CaptureError, ShapeError, UnknownNameError

Axes = Literal["auto", "batch-time-neurons", "batch-neurons-time", "time-batch-neurons", "flat"]
"""Order of the axes of a layer's output; `auto`: determined by dry runs."""
AXES: tuple[Axes, ...] = get_args(Axes)

_ORDERS = {
    "batch-time-neurons": (0, 1, 2),
    "batch-neurons-time": (0, 2, 1),
    "time-batch-neurons": (1, 0, 2),
}

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
    """

    axes: Axes
    neurons: int
    missing: int = 0
    dropped: tuple[int, ...] = ()

    @property
    def neuron_axis(self) -> int:
        """Return the axis of the neurons; -1 for the last."""
        n_axes, index = (2, 1) if self.axes == "flat" else (3, _ORDERS[self.axes][2])
        last = n_axes + len(self.dropped) - 1
        axis = [axis for axis in range(last + 1) if axis not in self.dropped][index]
        return -1 if axis == last else axis

    def arranged(self, output: Tensor, documents: int, steps: int) -> Tensor:
        """Return the output for an input of this size as (documents, time, neurons), without a copy if possible.

        Raises:
            ShapeError: the output has another shape than the dry runs predict.
        """
        time = steps - self.missing
        expected = [documents, time, self.neurons]
        if self.axes == "flat":
            shape: tuple[int, ...] = (documents * time, self.neurons)
        else:
            shape = tuple(expected[_ORDERS[self.axes].index(axis)] for axis in range(3))
        for axis in self.dropped:
            shape = (*shape[:axis], 1, *shape[axis:])
        if tuple(output.shape) != shape:
            raise ShapeError(f"returned {tuple(output.shape)} instead of {shape} as in the dry run")
        if self.dropped:
            output = output.squeeze(self.dropped)
        if self.axes == "flat":
            return output.reshape(documents, time, self.neurons)
        return output.permute(_ORDERS[self.axes])


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
    for order in AXES[1:]:
        if axes not in ("auto", order):
            continue
        for dropped in _droppable(first, second, 2 if order == "flat" else 3):
            layout = _fit(order, first.without(dropped), second.without(dropped))
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


def _fit(axes: Axes, first: DryRun, second: DryRun) -> Layout | None:
    """Return the layout of outputs with three axes (two if `flat`), or None if they do not have this order."""
    runs = (first, second)
    if axes == "flat":
        if any(run.shape[0] != run.documents * run.steps for run in runs):
            return None
        return Layout(axes, first.shape[1]) if first.shape[1] == second.shape[1] else None
    batch, time, neurons = _ORDERS[axes]
    missing = [run.steps - run.shape[time] for run in runs]
    if (
        any(run.shape[batch] != run.documents for run in runs)
        or missing[0] != missing[1]
        or first.shape[neurons] != second.shape[neurons]
    ):
        return None
    return Layout(axes, first.shape[neurons], missing[0])
