"""How a layer lays out its activations, found out by two dry runs of different size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal, get_args

from torch import Tensor

from txray.errors import CaptureError, ShapeError, UnknownNameError

Axes = Literal["auto", "batch-time-neurons", "batch-neurons-time", "time-batch-neurons", "flat"]
AXES: tuple[Axes, ...] = get_args(Axes)

_ORDERS = {
    "batch-time-neurons": (0, 1, 2),
    "batch-neurons-time": (0, 2, 1),
    "time-batch-neurons": (1, 0, 2),
}

_MOST_AXES = 8
"""Of an output; the ways to drop axes of size 1 grow with the number of them."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a layer's output has its documents, time steps and neurons.

    Attributes:
        axes: their order; `flat`: documents and time steps in one axis, then neurons.
        neurons: how many.
        missing: time steps that the output has fewer than the input, as a convolution without padding; below 0 where
            it has more, as a model that puts a step of its own before the text.
        dropped: axes of size 1 that it has besides, as the width that is left of a convolution in two dimensions.
    """

    axes: Axes
    neurons: int
    missing: int = 0
    dropped: tuple[int, ...] = ()

    @property
    def neuron_axis(self) -> int:
        """Return which axis of the output holds its neurons; -1 for the last."""
        n_axes, index = (2, 1) if self.axes == "flat" else (3, _ORDERS[self.axes][2])
        last = n_axes + len(self.dropped) - 1
        axis = [axis for axis in range(last + 1) if axis not in self.dropped][index]
        return -1 if axis == last else axis

    def arranged(self, output: Tensor, documents: int, steps: int) -> Tensor:
        """The output as (documents, time, neurons), without a copy where possible.

        Args:
            output: of the layer.
            documents: in the batch.
            steps: time steps of the input.

        Raises:
            ShapeError: the output is of another size than the dry runs foretold, so its rows cannot be told apart.
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
            raise ShapeError(f"gave {tuple(output.shape)} where the dry run makes {shape} expected")
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
        shape: of the output.
    """

    documents: int
    steps: int
    shape: tuple[int, ...]

    def without(self, axes: tuple[int, ...]) -> DryRun:
        """Return the same without some axes of the output."""
        shape = tuple(size for axis, size in enumerate(self.shape) if axis not in axes)
        return DryRun(self.documents, self.steps, shape)


def layout_of(
    layer: str, first: DryRun, second: DryRun, requested: Axes = "auto", gives: str = "gives"
) -> Layout:
    """Tell the axes of a layer apart by what changed between two dry runs.

    Args:
        layer: its name, for errors.
        first, second: with different numbers of documents and of steps.
        requested: an order of the axes that the caller knows, or `auto`.
        gives: what the layer does with the tensor, for errors.

    Returns:
        The layout; axes of size 1 that are neither documents, time nor neurons are dropped, the last of them first.

    Raises:
        UnknownNameError: no such order.
        CaptureError: the output has no activations per position, or not in the order requested for.
    """
    if requested not in AXES:
        raise UnknownNameError.of("layout", requested, AXES)
    for axes in AXES[1:]:
        if requested not in ("auto", axes):
            continue
        for dropped in _droppable(first, second, 2 if axes == "flat" else 3):
            layout = _fit(axes, first.without(dropped), second.without(dropped))
            if layout is not None:
                return replace(layout, dropped=dropped)
    wanted = "(documents, time, neurons), in any order" if requested == "auto" else requested
    raise CaptureError(
        f"layer {layer!r}: {gives} {first.shape} for {first.documents} documents of {first.steps} positions and "
        f"{second.shape} for {second.documents} of {second.steps}; collection needs {wanted}, one activation "
        "per position; choose a layer before the pooling"
    )


def _droppable(first: DryRun, second: DryRun, remaining: int) -> Iterator[tuple[int, ...]]:
    """Yield every choice of axes of size 1 that leaves `remaining` axes, those with the last axes first."""
    axes = len(first.shape)
    if axes != len(second.shape) or not remaining <= axes <= _MOST_AXES:
        return
    ones = [axis for axis in range(axes) if first.shape[axis] == second.shape[axis] == 1]
    for chosen in combinations(reversed(ones), axes - remaining):
        yield tuple(sorted(chosen))


def _fit(axes: Axes, first: DryRun, second: DryRun) -> Layout | None:
    """Return the layout of outputs of three axes, of two where `flat`, if they have this order."""
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
