"""How a language model turns values of its layers into logits: one linear path, with all norms at a fixed scale."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from txray.capture.compiled import is_observable
from txray.capture.hooks import Side, Tap, first_tensor, modules_by_name, with_first_tensor
from txray.capture.predictions import logits_of, same_order
from txray.errors import CaptureError, UsageError
from txray.models.base_model import is_adapted

_CLOSE = {torch.float16: 3e-2, torch.bfloat16: 1e-1}
"""Relative difference that may be rounding, by dtype; 0.1% for others."""
_LARGE = 1e3
"""Size of the values that measure a norm, so large that what it adds to variances does not matter."""
_DEPTH = 3
"""Maximum number of modules between a layer and the residual stream: a projection, and norms around it."""


class Step(Protocol):
    """A linear map of directions."""

    def __call__(self, directions: Tensor) -> Tensor:
        """Return the (n, n_outputs) images of (n, n_inputs) directions."""


@dataclass(frozen=True, eq=False)
class Projection:
    """Multiplication by a matrix, carried out by the module itself without its bias."""

    module: nn.Module

    def __call__(self, directions: Tensor) -> Tensor:
        """Return the images of directions."""
        like = next(weight for weight in self.module.parameters() if weight.is_floating_point())
        inputs = directions.to(like.device, like.dtype)
        output, bias = (first_tensor(self.module(rows)) for rows in (inputs, torch.zeros_like(inputs[:1])))
        assert output is not None and bias is not None
        return (output - bias).float()


@dataclass(frozen=True, eq=False)
class FrozenNorm:
    """A layer norm or RMS norm at a fixed scale: centring, if it centres, and multiplication by its gain.

    Attributes:
        gain: (n,) factors.
        centred: whether the mean over the elements is subtracted.
    """

    gain: Tensor
    centred: bool

    def __call__(self, directions: Tensor) -> Tensor:
        """Return the images of directions."""
        gain = self.gain.to(directions.device)
        if self.centred:
            directions = directions - directions.mean(dim=-1, keepdim=True)
        return directions * gain


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
    """The linear path from the layers of a language model to its logits.

    Attributes:
        modules: its modules by name.
        head: the module that returns the logits, up to their scale.
        unembedding: (n_ids, n) its matrix.
        steps: what happens to the residual stream before the head, in order.
    """  # _after: values behind each of these steps, and the steps that remain

    modules: Mapping[str, nn.Module]
    head: nn.Module
    unembedding: Tensor
    steps: Sequence[Step]
    _run: Callable[[], object]
    _calls: list[_Call] = field(repr=False)
    _stream: _Point
    _values: Tensor = field(repr=False)
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
        seen = [call for call in calls if call is not head]
        while (call := _producer(seen, values)) is not None and call.input is not None:
            step = None if call.input.shape == values.shape and torch.equal(call.input, values) else _step(call)
            if step is None and not _same(call.input, values):
                break
            seen = seen[: seen.index(call)]
            if step is not None:
                after.append((values, tuple(steps)))
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
            reason = "reach the residual stream on several ways" if paths else "are not added to the residual stream"
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
            step = _step(call)
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
        close = _CLOSE.get(values.dtype, 1e-3)
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
            if matrix.shape == (n_ids, n) and zero is not None:
                product = rows.float() @ matrix.detach().float().T
                alone = first_tensor(call.module(rows))
                if alone is not None and _near(alone - zero, product, call.output.dtype):
                    return matrix.detach()
    return None


def _producer(calls: Sequence[_Call], values: Tensor) -> _Call | None:
    """Return the last call of a module without parts whose output these values are."""
    return next(
        (
            call
            for call in reversed(calls)
            if not any(True for _ in call.module.children()) and _same(call.output, values)
        ),
        None,
    )


def _step(call: _Call) -> Step | None:
    """Return what one call does as a linear map with norms at a fixed scale; None if it is something else."""
    if any(True for _ in call.module.children()) and not is_adapted(call.module):
        return None
    if call.input is None or call.input.shape[:-1] != call.output.shape[:-1]:
        return None
    rows = call.input.reshape(-1, call.input.shape[-1])
    try:
        module = _precise(call.module)
        rows = rows.to(next((weight.dtype for weight in module.parameters()), rows.dtype))
        alone = first_tensor(module(rows))
        if alone is None or not _near(alone, call.output.reshape(len(rows), -1), call.output.dtype):
            return None
        return _norm(module, rows) or _linear(module, rows)
    except (RuntimeError, TypeError, ValueError, AttributeError, StopIteration):  # it takes other arguments
        return None


def _precise(module: nn.Module) -> nn.Module:
    """Return a copy in float32 if the weights are of half precision."""
    weights = [*module.parameters(), *module.buffers()]
    half = any(weight.dtype in _CLOSE for weight in weights)
    return copy.deepcopy(module).float() if half and not any(weight.is_meta for weight in weights) else module


def _linear(module: nn.Module, rows: Tensor) -> Step | None:
    """Return a projection if the module is linear up to a constant."""
    if not any(weight.is_floating_point() for weight in module.parameters()):
        return None
    step = Projection(module)
    one, two = rows[:1], rows[-1:] + rows[:1].flip(-1)
    if not _near(step(2 * one - two), 2 * step(one) - step(two), rows.dtype):
        return None
    return step


def _norm(module: nn.Module, rows: Tensor) -> Step | None:
    """Return a frozen norm if the module divides by the size of its input, and multiplies by a gain."""

    def apply(inputs: Tensor) -> Tensor:
        output = first_tensor(module(inputs))
        assert output is not None
        return output.float()

    n = rows.shape[-1]
    if n < 2:
        return None
    bias = apply(torch.zeros_like(rows[:1]))
    if bias.shape[-1] != n:
        return None
    probe = torch.ones_like(rows[:1]) * _LARGE
    centred = bool((apply(probe) - bias).abs().max() < 1e-3)
    probe[:, ::2] *= -2
    reduced = (probe - probe.mean() if centred else probe).float()
    gain = (apply(probe) - bias) / reduced * reduced.square().mean().sqrt()
    inputs = rows.float() - rows.float().mean(dim=-1, keepdim=True) if centred else rows.float()
    if not bool(gain.any()):
        return None
    expected, output = inputs * gain, apply(rows) - bias
    scale = (expected * output).sum(-1, keepdim=True) / expected.square().sum(-1, keepdim=True)
    fits = bool((scale > 0).all()) and _near(output, expected * scale, rows.dtype)
    # A norm gives the same for all multiples of a large input; a product with the gain alone would not.
    same = _near(apply(probe) - bias, apply(2 * probe) - bias, rows.dtype)
    return FrozenNorm(gain.flatten(), centred) if fits and same else None


def _near(one: Tensor, other: Tensor, dtype: torch.dtype) -> bool:
    if one.shape != other.shape:
        return False
    difference = (one.double() - other.double()).norm()
    return bool(difference <= _CLOSE.get(dtype, 1e-3) * other.double().norm())


def _same(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors hold the same values, in any arrangement of the positions."""
    return (
        one.numel() == other.numel()
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
