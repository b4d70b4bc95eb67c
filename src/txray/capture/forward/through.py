"""Modules that turn the activations of a layer into other units, such as the latents of a sparse autoencoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from txray.capture.forward.hooks import first_tensor
from txray.errors import CaptureError, TxrayError, UnknownNameError, UsageError, in_one_line
from txray.identity import identity_of, unidentified
from txray.models.autoencoder import load_autoencoder
from txray.models.base_model import class_of, in_evaluation_mode, unwrapped
from txray.models.fingerprint import computation_fingerprint, model_fingerprint

ThroughLike = nn.Module | str | Path | Mapping[str, nn.Module] | Callable[[str], nn.Module]
"""A module, the folder of a sparse autoencoder, or a module for each layer: by its name, or from a function of it."""

_ROUNDING = 1e-3
"""Difference between units, relative to the largest one, that may be rounding or a tie among the strongest."""


@dataclass(frozen=True, eq=False)
class Through:
    """A module through which the activations of one layer are read; its outputs are the units.

    Attributes:
        module: any module; its method `encode` is called if it has one, otherwise the module itself.
        name: its attribute `name`, or the name of its class.
        n_units: number of units.
        density: mean share of units that are positive, in a dry run.
        random: whether equal activations gave different units in a dry run.
    """

    module: nn.Module
    name: str
    n_units: int
    density: float = 1.0
    random: bool = False

    @classmethod
    def of(cls, layer: str, module: nn.Module, activations: Tensor) -> Through:
        """Return a module that was tried on the activations of a dry run.

        Args:
            layer: name of the layer, for errors.
            module: the module.
            activations: (n, n_neurons) activations of the layer.

        Raises:
            CaptureError: the module fails, does not give one row per row, or gives a row other units if it is alone.
        """
        name = _name_of(module)
        first = cls(module, name, 0).encode(activations, layer)
        again, alone = (cls(module, name, 0).encode(rows, layer) for rows in (activations, activations[:1]))
        if first.dim() != 2 or len(first) != len(activations) or first.shape[1] == 0:
            raise CaptureError(
                f"layer {layer!r}: module {name!r} gives {tuple(first.shape)} for activations of shape "
                f"{tuple(activations.shape)}; it must give one row of units for each row"
            )
        random = not _alike(first, again)
        if not random and not _alike(first[:1], alone):
            raise CaptureError(
                f"layer {layer!r}: module {name!r} gives a row other units if it is alone, so results would depend on "
                "the batch; use one that treats rows independently (a threshold instead of the strongest of a batch)"
            )
        density = float((first > 0).float().mean())
        return cls(module, name, first.shape[1], density, random)

    def encode(self, activations: Tensor, layer: str = "") -> Tensor:
        """Return the (n, n_units) units of (n, n_neurons) activations, on the device of the module.

        Raises:
            CaptureError: the module fails.
        """
        weight = next((part for part in self._tensors() if part.is_floating_point()), None)
        if weight is not None:
            activations = activations.to(weight.device, weight.dtype)
        encode = getattr(self.module, "encode", None)
        try:
            with in_evaluation_mode(self.module), torch.no_grad():
                output = first_tensor((encode if callable(encode) else self.module)(activations))
        except TxrayError:
            raise
        except Exception as error:  # from a foreign module
            raise CaptureError(
                f"layer {layer!r}: module {self.name!r} fails on activations of shape {tuple(activations.shape)}: "
                f"{in_one_line(error)}; pass a module for this layer"
            ) from error
        if output is None:
            raise CaptureError(f"layer {layer!r}: module {self.name!r} returns no tensor; pass another one")
        return output

    @cached_property
    def code(self) -> str:
        """Return a fingerprint of the code that the module runs; see `txray.identity`."""
        encode = getattr(class_of(unwrapped(self.module)), "encode", None)
        return identity_of(computation_fingerprint(self.module), encode)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Return what identifies the module, as plain JSON values."""
        reason = unidentified(self.code)
        return {
            "name": self.name,
            "class": class_of(unwrapped(self.module)).__name__,
            "fingerprint": model_fingerprint(self.module),
            "code": f"unidentified: {reason}" if reason else self.code,
        }

    def _tensors(self) -> list[Tensor]:
        return [*self.module.parameters(), *self.module.buffers()]


def module_for(through: ThroughLike, layer: str) -> nn.Module:
    """Return the module of a layer.

    Raises:
        UsageError: it is no module.
        UnknownNameError: a mapping has none for this layer.
        SnapshotError: a folder cannot be read.
    """
    if isinstance(through, nn.Module):
        return through
    if isinstance(through, str | Path):
        return load_autoencoder(through)
    if isinstance(through, Mapping):
        if layer not in through:
            raise UnknownNameError.of("layer of through=", layer, through)
        module: object = through[layer]
    else:
        module = through(layer)
    if not isinstance(module, nn.Module):
        raise UsageError(
            f"layer {layer!r}: through= gives a {type(module).__name__} for it; give a torch.nn.Module"
        )
    return module


def require_through(layer: str, through: object) -> None:
    """Raise unless `through` can give modules.

    Raises:
        UsageError: it is none of the types of `ThroughLike`.
    """
    if not (isinstance(through, nn.Module | str | Path | Mapping) or callable(through)):
        raise UsageError(
            f"layer {layer!r}: through={type(through).__name__}; pass a torch.nn.Module, the folder of a sparse "
            "autoencoder, or a mapping or function from names of layers to modules"
        )


def through_fingerprint(through: ThroughLike) -> str:
    """Return a fingerprint of the modules, or of the function that gives them."""
    if isinstance(through, Mapping):
        return identity_of(sorted((name, through_fingerprint(module)) for name, module in through.items()))
    if not isinstance(through, nn.Module | str | Path):
        return identity_of(through)
    module = module_for(through, "")
    return identity_of(model_fingerprint(module), computation_fingerprint(module))


def _name_of(module: nn.Module) -> str:
    """Return the name of a module in labels of layers, where colons and line breaks would be ambiguous."""
    name = getattr(module, "name", None)
    text = name if isinstance(name, str) and name else class_of(unwrapped(module)).__name__
    return "".join(
        "_" if character == ":" or not character.isprintable() else character for character in text
    )


def _alike(one: Tensor, other: Tensor) -> bool:
    """Return whether two outputs are equal up to rounding, in nearly all units."""
    if one.shape != other.shape:
        return False
    largest = float(one.nan_to_num(0, 0, 0).abs().max()) if one.numel() else 0.0
    return bool(
        torch.isclose(one, other, rtol=0, atol=_ROUNDING * largest, equal_nan=True).float().mean() > 0.999
    )
