"""Linear maps between the layers of a language model and its logits: projections, and norms at a fixed scale."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from txray.capture.forward.hooks import first_tensor
from txray.models.base_model import is_adapted

_ROUNDING = {torch.float16: 3e-2, torch.bfloat16: 1e-1}
_LARGE = 1e3
"""Size of the values that measure a norm, so large that what it adds to variances does not matter."""


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
        output, bias = (
            first_tensor(self.module(inputs)),
            first_tensor(self.module(torch.zeros_like(inputs[:1]))),
        )
        assert output is not None
        assert bias is not None
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


@dataclass(frozen=True, eq=False)
class Scaling:
    """Multiplication of all elements by one positive number."""

    factor: float

    def __call__(self, directions: Tensor) -> Tensor:
        """Return the images of directions."""
        return directions * self.factor


def step_of(called: nn.Module, values: Tensor, output: Tensor) -> Step | None:
    """Return what one call of a module does as a linear map, with norms at a fixed scale; None if it does more.

    Args:
        called: the module.
        values, output: input and output of the call.
    """
    if any(True for _ in called.children()) and not is_adapted(called):
        return None
    if values.shape[:-1] != output.shape[:-1]:
        return None
    rows = values.reshape(-1, values.shape[-1])
    try:
        module = _precise(called)
        rows = rows.to(next((weight.dtype for weight in module.parameters()), rows.dtype))
        alone = first_tensor(module(rows))
        if alone is None or not near(alone, output.reshape(len(rows), -1), output.dtype):
            return None  # it depends on more than its input, or on the position
        return _norm(module, rows) or _linear(module, rows)
    except (RuntimeError, TypeError, ValueError, AttributeError, StopIteration):  # it takes other arguments
        return None


def _precise(module: nn.Module) -> nn.Module:
    """Return a copy in float32 if the weights are of half precision."""
    weights = [*module.parameters(), *module.buffers()]
    half = any(weight.dtype in _ROUNDING for weight in weights)
    return copy.deepcopy(module).float() if half and not any(weight.is_meta for weight in weights) else module


def _linear(module: nn.Module, rows: Tensor) -> Step | None:
    """Return a projection if the module is linear up to a constant."""
    if not any(weight.is_floating_point() for weight in module.parameters()):
        return None
    step = Projection(module)
    one, two = rows[:1], rows[-1:] + rows[:1].flip(-1)
    if not near(step(2 * one - two), 2 * step(one) - step(two), rows.dtype):
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
    fits = bool((scale > 0).all()) and near(output, expected * scale, rows.dtype)
    # A norm gives the same for all multiples of a large input; a product with the gain alone would not.
    same = near(apply(probe) - bias, apply(2 * probe) - bias, rows.dtype)
    return FrozenNorm(gain.flatten(), centred) if fits and same else None


def rounding_of(dtype: torch.dtype) -> float:
    """Return the relative difference of two results that may be rounding."""
    return _ROUNDING.get(dtype, 1e-3)


def near(one: Tensor, other: Tensor, dtype: torch.dtype) -> bool:
    """Return whether two tensors are equal up to the rounding of a dtype."""
    if one.shape != other.shape:
        return False
    difference = (one.double() - other.double()).norm()
    return bool(difference <= rounding_of(dtype) * other.double().norm())
