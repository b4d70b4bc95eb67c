"""How a layer lays out its activations, found out by two dry runs of different size."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a layer's output has its documents, time steps and neurons.

    Attributes:
        axes: their order; `flat`: documents and time steps in one axis, then neurons.
        neurons: how many.
        missing: time steps that the output has fewer than the input, as a convolution without padding.
    """

    axes: Axes
    neurons: int
    missing: int = 0

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
        if tuple(output.shape) != shape:
            raise ShapeError(f"gave {tuple(output.shape)} where the dry run makes {shape} expected")
        if self.axes == "flat":
            return output.reshape(documents, time, self.neurons)
        return output.permute(_ORDERS[self.axes])


@dataclass(frozen=True, slots=True)
class DryRun:
    """One layer's output for an input of known size.

    Attributes:
        documents, steps: size of the input.
        shape: of the output.
        changed: whether the model changed the output in place afterwards.
    """

    documents: int
    steps: int
    shape: tuple[int, ...]
    changed: bool = False


def layout_of(layer: str, first: DryRun, second: DryRun, asked: Axes = "auto") -> Layout:
    """Tell the axes of a layer apart by what changed between two dry runs.

    Args:
        layer: its name, for errors.
        first, second: with different numbers of documents and of steps.
        asked: an order of the axes that the caller knows, or `auto`.

    Raises:
        UnknownNameError: no such order.
        CaptureError: the output has no activations per position, or not in the order asked for.
    """
    if asked not in AXES:
        raise UnknownNameError.of("layout", asked, AXES)
    fitting = [
        layout
        for axes in AXES[1:]
        if asked in ("auto", axes) and (layout := _fit(axes, first, second)) is not None
    ]
    if not fitting:
        wanted = "(documents, time, neurons), in any order" if asked == "auto" else asked
        raise CaptureError(
            f"layer {layer!r}: gives {first.shape} for {first.documents} documents of {first.steps} positions and "
            f"{second.shape} for {second.documents} of {second.steps}; collection needs {wanted}, one activation "
            "per position; choose a layer before the pooling"
        )
    return fitting[0]


def _fit(axes: Axes, first: DryRun, second: DryRun) -> Layout | None:
    if axes == "flat":
        sizes = [run.documents * run.steps for run in (first, second)]
        shapes = [run.shape for run in (first, second)]
        if any(len(shape) != 2 for shape in shapes) or [shape[0] for shape in shapes] != sizes:
            return None
        return Layout(axes, shapes[0][1]) if shapes[0][1] == shapes[1][1] else None
    if len(first.shape) != 3 or len(second.shape) != 3:
        return None
    batch, time, neurons = _ORDERS[axes]
    missing = [run.steps - run.shape[time] for run in (first, second)]
    if (
        [run.shape[batch] for run in (first, second)] != [first.documents, second.documents]
        or missing[0] != missing[1]
        or first.shape[neurons] != second.shape[neurons]
    ):
        return None
    return Layout(axes, first.shape[neurons], missing[0])
