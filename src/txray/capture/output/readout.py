"""Trace how a language model turns values of its layers into logits: one linear path, with norms at a fixed scale."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from txray.capture.forward.compiled import is_observable
from txray.capture.forward.hooks import Side, Tap, first_tensor, modules_by_name, with_first_tensor
from txray.capture.output.linear_steps import Scaling, Step, near, rounding_of, step_of
from txray.capture.output.predictions import logits_of, same_order
from txray.errors import CaptureError, UsageError
from txray.models.base_model import is_adapted

_IDS = 8192
"""Number of rows of the unembedding that are converted at a time."""
_DEPTH = 3
"""Maximum number of modules between a layer and the residual stream: a projection, and norms around it."""


@dataclass(eq=False)
class _Call:
    """One call of a module in the dry run; `value` is its whole output if it will be repeated."""

    module: nn.Module
    number: int
    input: Tensor | None
    output: Tensor
    value: Any = None


@dataclass(frozen=True)
class _Point:
    """A tensor in the forward pass: that of one call of a module."""

    module: nn.Module
    number: int
    side: Side


@dataclass(eq=False)
class Readout:
    """Finds the linear path from the layers of a language model to its logits.

    Attributes:
        modules: its modules by name.
        head: the module that returns the logits, up to their scale.
        unembedding: (n_ids, n) its matrix.
        steps: what happens to the residual stream before the head, in order.
    """

    modules: Mapping[str, nn.Module]
    head: nn.Module
    unembedding: Tensor
    steps: Sequence[Step]
    _run: Callable[[], object]
    _calls: list[_Call] = field(repr=False)
    _stream: _Point
    _values: Tensor = field(repr=False)
    # Values behind the stream, and the steps that they still take.
    _after: Sequence[tuple[Tensor, Sequence[Step]]] = field(repr=False)

    @classmethod
    def of(cls, model: nn.Module, run: Callable[[], object]) -> Readout:
        """Trace a dry run.

        Args:
            model: the language model.
            run: runs it on a few words, in evaluation mode, and returns its output.

        Raises:
            UsageError: its logits are no linear function of a hidden state.
        """
        modules = modules_by_name(model)
        calls: list[_Call] = []
        with _recorded(modules, calls):
            logits = logits_of(run())
        kind = type(model).__name__
        head = next((call for call in reversed(calls) if _matrix(call, logits.shape[-1]) is not None), None)
        if head is None or head.input is None or not same_order(head.output, logits):
            raise UsageError(
                f"{kind}: its logits are not the product of a hidden state and one matrix, so what a neuron writes is "
                "not defined"
            )
        matrix = _matrix(head, logits.shape[-1])
        assert matrix is not None
        stream, values, steps = _Point(head.module, head.number, "input"), head.input, list[Step]()
        after: list[tuple[Tensor, Sequence[Step]]] = []
        earlier = [call for call in calls if call is not head]
        while (source := _producer(earlier, values)) is not None:
            call, factor = source
            if call.input is None:
                break
            unchanged = _same(call.input, call.output)  # such as dropout
            step = None if unchanged else step_of(call.module, call.input, call.output)
            if step is None and not unchanged:
                break
            earlier = earlier[: earlier.index(call)]
            if factor != 1:
                after.append((values, tuple(steps)))
                steps.insert(0, Scaling(factor))
            if step is not None:
                after.append((call.output, tuple(steps)))
                steps.insert(0, step)
            stream, values = _Point(call.module, call.number, "input"), call.input
        return cls(modules, head.module, matrix, steps, run, calls, stream, values, after)

    def path(self, tap: Tap, module: nn.Module) -> tuple[float, list[Step]]:
        """Return a factor and the maps through which the units of a layer reach the input of the head.

        Args:
            tap: the layer.
            module: the module of this name.

        Raises:
            CaptureError: the layer does not run in the language model.
            UsageError: the units do not reach the stream, or not by one linear path.
        """
        calls = [call for call in self._calls if call.module is module and tap.number in (None, call.number)]
        values = (calls[-1].input if tap.side == "input" else calls[-1].output) if calls else None
        if values is None:
            raise CaptureError(f"layer {tap.label!r}: does not run before the logits; choose another layer")
        for after, steps in self._after:
            if tap.side == "output" and _same(values, after):
                return 1.0, list(steps)
        paths = list(self._paths(_Point(module, calls[-1].number, tap.side), values, _DEPTH))
        if len(paths) != 1:
            reason = (
                "reach the residual stream in several ways"
                if paths
                else "are not added to the residual stream"
            )
            raise UsageError(
                f"layer {tap.label!r}: what a neuron writes is not defined, because its units {reason} that the head "
                "reads; choose the input of a projection to that stream, such as 'layers.*.mlp.down_proj:input', or "
                "the output of a block"
            )
        factor, steps = paths[0]
        return factor, [*steps, *self.steps]

    def _paths(self, point: _Point, values: Tensor, depth: int) -> Iterator[tuple[float, list[Step]]]:
        """Yield the linear paths from a tensor to the stream, the direct one alone if there is one."""
        factor = self._factor(point, values)
        if factor is not None:
            yield factor, []
            return
        if not depth:
            return
        for call in self._calls:
            if call.module is self.head or call.input is None or not _same(call.input, values):
                continue
            if point.side == "input" and (call.module, call.number) != (point.module, point.number):
                continue
            step = step_of(call.module, call.input, call.output)
            if step is not None:
                following = _Point(call.module, call.number, "output")
                for onward, steps in self._paths(following, call.output, depth - 1):
                    yield onward, [step, *steps]

    def _factor(self, point: _Point, values: Tensor) -> float | None:
        """Return the factor by which a tensor is added to the stream; None if it is not, or not linearly.

        All modules with matrices repeat their outputs of the dry run, so only the direct path remains.
        """
        if values.shape[-1] != self._values.shape[-1]:
            return None
        generator = torch.Generator().manual_seed(0)
        change = torch.randn(values.shape, generator=generator) * float(self._values.float().std())
        change = change.to(values.device, values.dtype)
        with _repeating(self.modules, self._calls, point, change) as observed:
            seen: list[Tensor] = observed(self._stream)
            self._run()
        if not seen or seen[0].numel() != change.numel():
            return None
        difference = (seen[0] - self._values).double().flatten()
        expected = change.double().flatten()
        factor = float(difference @ expected / (expected @ expected))
        rest = float((difference - factor * expected).norm() / expected.norm())
        close = rounding_of(values.dtype)
        if abs(factor) < close or rest > close * max(1.0, abs(factor)):
            return None
        return 1.0 if abs(factor - 1) < close else factor


@contextmanager
def _recorded(modules: Mapping[str, nn.Module], calls: list[_Call]) -> Iterator[None]:
    """Record all calls of modules inside the block."""
    numbers: dict[nn.Module, int] = {}
    frozen = _with_matrices(modules)

    def record(module: nn.Module, arguments: Any, named: Any, value: Any) -> None:
        number = numbers[module] = numbers.get(module, -1) + 1
        output = first_tensor(value)
        if output is None or not output.is_floating_point():
            return
        received = first_tensor((*arguments, *named.values()))
        stored = None if received is None else received.clone()
        repeated = _clone(value) if module in frozen else None
        calls.append(_Call(module, number, stored, output.clone(), repeated))

    with ExitStack() as hooks:
        for module in dict.fromkeys(modules.values()):
            if is_observable(module):
                hooks.enter_context(module.register_forward_hook(record, with_kwargs=True))
        yield


@contextmanager
def _repeating(
    modules: Mapping[str, nn.Module], calls: Sequence[_Call], point: _Point, change: Tensor
) -> Iterator[Callable[[_Point], list[Tensor]]]:
    """Let modules with matrices repeat their outputs inside the block, and add `change` to one tensor.

    Yields:
        A function that returns a list, to which the tensor of another point is added as it is computed.
    """
    values = {(call.module, call.number): call.value for call in calls}
    numbers: dict[tuple[nn.Module, str], int] = {}
    seen: list[Tensor] = []
    watched: list[_Point] = []

    def count(module: nn.Module, side: str) -> int:
        number = numbers[module, side] = numbers.get((module, side), -1) + 1
        return number

    def before(module: nn.Module, arguments: Any, named: Any) -> Any:
        number = count(module, "input")
        given = {**dict(enumerate(arguments)), **named}
        if point.side == "input" and point.module is module and point.number == number:
            given = with_first_tensor(given, lambda tensor: tensor + change)
        for other in watched:
            if other.side == "input" and other.module is module and other.number == number:
                tensor = first_tensor(given)
                seen.extend([] if tensor is None else [tensor.clone()])
        return tuple(given[i] for i in range(len(arguments))), {key: given[key] for key in named}

    def after(module: nn.Module, arguments: Any, value: Any) -> Any:
        number = count(module, "output")
        if module in frozen and (module, number) in values:
            value = _clone(values[module, number])
        if point.side == "output" and point.module is module and point.number == number:
            value = with_first_tensor(value, lambda tensor: tensor + change)
        return value

    def observed(other: _Point) -> list[Tensor]:
        watched.append(other)
        return seen

    frozen = _with_matrices(modules)
    with ExitStack() as hooks:
        for module in dict.fromkeys(modules.values()):
            if is_observable(module):
                hooks.enter_context(module.register_forward_pre_hook(before, with_kwargs=True))
                hooks.enter_context(module.register_forward_hook(after))
        yield observed


def _with_matrices(modules: Mapping[str, nn.Module]) -> set[nn.Module]:
    """Return the innermost modules that own a matrix or larger tensor; a layer with an adapter counts as a whole."""
    owners = {module for module in modules.values() if is_adapted(module) or _owns_matrix(module)}
    return {
        module
        for module in owners
        if is_adapted(module) or not any(part in owners for part in module.modules() if part is not module)
    }


def _owns_matrix(module: nn.Module) -> bool:
    tensors = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    packed = isinstance(getattr(module, "weight", None), Tensor) or callable(getattr(module, "weight", None))
    return any(tensor.dim() >= 2 for tensor in tensors if isinstance(tensor, nn.Parameter)) or (
        packed and not tensors
    )


def _matrix(call: _Call, n_ids: int) -> Tensor | None:
    """Return the (n_ids, n) matrix of a module if its output is the product with it, plus a constant."""
    if call.input is None or call.output.shape[-1] != n_ids or is_adapted(call.module):
        return None
    n = call.input.shape[-1]
    rows = call.input.reshape(-1, n)[:4]
    zero = first_tensor(call.module(torch.zeros_like(rows[:1])))
    for tensor in call.module.parameters(recurse=False):
        for matrix in (tensor, tensor.T) if tensor.dim() == 2 else ():
            if matrix.shape == (n_ids, n) and matrix.is_meta:  # stored elsewhere by accelerate
                return matrix
            if matrix.shape == (n_ids, n) and zero is not None:
                # In parts, because a copy in float32 could be larger than the model.
                parts = torch.split(matrix.detach(), _IDS)
                product = torch.cat([rows.float() @ part.float().T for part in parts], dim=1)
                alone = first_tensor(call.module(rows))
                if alone is not None and near(alone - zero, product, call.output.dtype):
                    return matrix.detach()
    return None


def _producer(calls: Sequence[_Call], values: Tensor) -> tuple[_Call, float] | None:
    """Return the last call of a module without parts whose output, times a positive factor, these values are."""
    for call in reversed(calls):
        if not any(True for _ in call.module.children()):
            factor = _ratio(values, call.output)
            if factor is not None:
                return call, factor
    return None


def _ratio(values: Tensor, output: Tensor) -> float | None:
    """Return the positive number by which an output was multiplied; None if these values are something else."""
    if _same(values, output):
        return 1.0
    if values.shape != output.shape or not bool(output.any()):
        return None
    ratio = float((values.double() * output.double()).sum() / output.double().square().sum())
    return ratio if ratio > 0 and near(values, output.double() * ratio, values.dtype) else None


def _same(one: Tensor | None, other: Tensor) -> bool:
    """Return whether two tensors hold the same values, in any arrangement of the positions."""
    return (
        one is not None
        and one.numel() == other.numel()
        and one.shape[-1] == other.shape[-1]
        and torch.equal(one.reshape(-1), other.reshape(-1))
    )


def _clone(value: Any) -> Any:
    """Return a copy of an output whose tensors are copied, too."""
    match value:
        case Tensor():
            return value.clone()
        case tuple() | list() if not hasattr(value, "_fields"):
            return type(value)(map(_clone, value))
    return copy.copy(value)
