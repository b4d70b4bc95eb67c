"""Read the neurons of experts whose weights one module holds in three-dimensional tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from txray.capture.forward.hooks import Side, evaluating
from txray.capture.forward.routes import RoutedRows
from txray.capture.model_adapter import ModelAdapter
from txray.errors import CaptureError, in_one_line

_ROUNDING = {torch.bfloat16: 5e-2, torch.float16: 1e-2, torch.float64: 1e-8}
"""Difference between the output of a module and that of its experts that is taken for rounding, by dtype."""

_SIZE = 2, 11
"""Documents and steps of the forward pass that checks how experts are computed."""


@dataclass(frozen=True)
class Experts:
    """Number and size of the experts whose weights one module holds.

    Attributes:
        number: number of experts.
        neurons: number of neurons of each: the size of the input of its last projection.
    """

    number: int
    neurons: int


def experts_in(module: nn.Module) -> Experts | None:
    """Return the experts whose weights a module holds; None if it has none, or in another form."""
    up, down = _first_projection(module), getattr(module, "down_proj", None)
    if not isinstance(up, Tensor) or not isinstance(down, Tensor) or up.dim() != 3 or down.dim() != 3:
        return None
    return Experts(len(down), down.shape[1] if _is_transposed(module) else down.shape[2])


@dataclass(frozen=True)
class Routing:
    """Inputs of a module of experts, with the experts chosen for each position.

    Attributes:
        hidden: (positions, size) inputs.
        index: (positions, k) experts that see each position.
        weights: (positions, k) factors of their outputs; None if the module does not receive them.
    """

    hidden: Tensor
    index: Tensor
    weights: Tensor | None

    @classmethod
    def of(cls, arguments: Sequence[Any]) -> Routing | None:
        """Recognize the arguments by their types and shapes; None if there are no integers for every position."""
        tensors = [argument for argument in arguments if isinstance(argument, Tensor)]
        hidden = next((tensor for tensor in tensors if tensor.is_floating_point()), None)
        index = next((tensor for tensor in tensors if tensor.dtype in (torch.int64, torch.int32)), None)
        if hidden is None or index is None or index.dim() == 0:
            return None
        hidden, index = hidden.reshape(-1, hidden.shape[-1]), index.reshape(-1, index.shape[-1])
        if len(hidden) != len(index):
            return None
        factors = [
            tensor
            for tensor in tensors
            if tensor.is_floating_point()
            and tensor.shape[-1] == index.shape[-1]
            and tensor.numel() == index.numel()
        ]
        return cls(hidden, index, factors[-1].reshape(index.shape) if factors else None)

    def of_expert(self, expert: int) -> Tensor:
        """Return (n,) the positions that an expert sees, ascending."""
        return torch.nonzero((self.index == expert).any(dim=-1)).squeeze(-1)


def neurons_of_expert(module: nn.Module, expert: int, hidden: Tensor) -> Tensor:
    """Return the (n, neurons) input of an expert's last projection for (n, size) inputs of the expert.

    Computed as the module does it: with its weights and its gate, in its number type.
    """
    values = _projected(module, hidden, _first_projection(module), _first_bias(module), expert)
    gate: Callable[[Tensor], Tensor] | None = getattr(module, "_apply_gate", None)
    act: Callable[[Tensor], Tensor] | None = getattr(module, "act_fn", None)
    if not isinstance(getattr(module, "gate_up_proj", None), Tensor):
        return values if act is None else act(values)
    if gate is not None:
        return gate(values)
    first, second = values.chunk(2, dim=-1)
    return (first if act is None else act(first)) * second


@dataclass(frozen=True)
class FusedExpert:
    """Reads the neurons of one expert from the arguments of the module that holds the weights of all.

    Attributes:
        expert: number of the expert, from 0.
    """

    expert: int

    @contextmanager
    def attached(
        self, modules: Mapping[str, nn.Module], layer: str, side: Side, put: Callable[[RoutedRows], None]
    ) -> Iterator[None]:
        """Call `put` in every call of the module; only the neurons of this expert are computed."""

        def read(module: nn.Module, inputs: Sequence[Any], named: Mapping[str, Any]) -> None:
            routing = Routing.of((*inputs, *named.values()))
            if routing is None:
                raise CaptureError(f"layer {layer!r}: received no experts for its positions")
            positions = routing.of_expert(self.expert)
            values = neurons_of_expert(module, self.expert, routing.hidden[positions])
            put(RoutedRows(values.detach(), positions, len(routing.hidden)))

        with modules[layer].register_forward_pre_hook(read, with_kwargs=True):
            yield


def require_computable(adapter: ModelAdapter, modules: Mapping[str, nn.Module]) -> None:
    """Check in a forward pass that the neurons of experts, projected and weighted, give the outputs of their modules.

    Raises:
        CaptureError: they do not, so the neurons of these experts are unknown.
    """
    for name, problem in uncomputable(adapter, modules).items():
        raise CaptureError(
            f"layer {name!r}: the neurons of its experts cannot be computed from its weights ({problem}); collect the "
            f"output of the {type(modules[name]).__name__} instead"
        )


def uncomputable(adapter: ModelAdapter, modules: Mapping[str, nn.Module]) -> dict[str, str]:
    """Return the modules whose outputs are not those of their experts in a forward pass, with the difference."""
    problems: dict[str, str] = {}

    def compare(name: str, module: nn.Module, inputs: Any, named: Mapping[str, Any], output: Any) -> None:
        try:
            problem = _difference(module, (*inputs, *named.values()), output, adapter.autocast)
        except Exception as error:
            problem = in_one_line(error, limit=160)
        if problem is not None:
            problems.setdefault(name, problem)

    with ExitStack() as hooks:
        for name, module in modules.items():
            hooks.enter_context(module.register_forward_hook(partial(compare, name), with_kwargs=True))
        hooks.enter_context(evaluating(adapter.module, adapter.autocast))
        adapter.dry_run(*_SIZE)
    return problems


def _difference(
    module: nn.Module, arguments: Sequence[Any], output: Any, autocast: torch.dtype | None
) -> str | None:
    """Return how the output differs from that of the experts; None if only by rounding."""
    routing = Routing.of(arguments)
    if routing is None or routing.weights is None:
        return "it receives no experts and weights for its positions"
    if not isinstance(output, Tensor):
        return f"it returns {type(output).__name__}"
    dtypes = {output.dtype, autocast}
    expected = torch.zeros_like(routing.hidden, dtype=torch.float64)
    experts = experts_in(module)
    if experts is None:
        return "its weights have another form"
    for expert in torch.unique(routing.index).tolist():
        if not 0 <= expert < experts.number:
            continue
        positions = routing.of_expert(expert)
        values = neurons_of_expert(module, expert, routing.hidden[positions])
        if values.shape[-1] != experts.neurons:
            return f"{values.shape[-1]} neurons instead of {experts.neurons}"
        values = _projected(module, values, module.down_proj, getattr(module, "down_proj_bias", None), expert)
        norm: Callable[[Tensor], Tensor] | None = getattr(module, "post_expert_norm", None)
        if norm is not None and getattr(module, "has_post_expert_norm", False):
            values = norm(values)
        dtypes.add(values.dtype)
        factor = torch.where(routing.index == expert, routing.weights, 0).sum(dim=-1)[positions]
        expected[positions] += (values * factor[:, None]).double()
    # An expert without weights, such as an identity, leaves positions that cannot be compared.
    known = (routing.index < experts.number).all(dim=-1)
    actual = output.reshape(expected.shape)[known].double()
    size = actual.abs().max().item() if actual.numel() else 0.0
    difference = (expected[known] - actual).abs().max().item() if actual.numel() else 0.0
    rounding = max(_ROUNDING.get(dtype, 1e-4) for dtype in dtypes if dtype)
    return None if difference <= rounding * size else f"outputs differ by {difference / max(size, 1e-30):.1%}"


def _first_projection(module: nn.Module) -> Any:
    gated = getattr(module, "gate_up_proj", None)
    return gated if isinstance(gated, Tensor) else getattr(module, "up_proj", None)


def _first_bias(module: nn.Module) -> Any:
    gated = isinstance(getattr(module, "gate_up_proj", None), Tensor)
    return getattr(module, "gate_up_proj_bias" if gated else "up_proj_bias", None)


def _is_transposed(module: nn.Module) -> bool:
    """Return whether the inputs are the second axis of a weight instead of the third."""
    return bool(getattr(module, "is_transposed", False))


def _projected(module: nn.Module, values: Tensor, weight: Any, bias: Any, expert: int) -> Tensor:
    """Return `values` projected as the eager implementation of transformers does it."""
    if _is_transposed(module):
        projected: Tensor = values @ weight[expert]
        return projected if bias is None else projected + bias[expert]
    return nn.functional.linear(values, weight[expert], None if bias is None else bias[expert])
