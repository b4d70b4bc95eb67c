"""The transformer within a module, whatever wraps it: a head, an adapter, `DataParallel`, `torch.compile`."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

_COMPILED = "_orig_mod"
"""Attribute of what `torch.compile` returns that holds the module itself."""


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the module within wrappers that only say how it runs: `DataParallel`, its kin, and `torch.compile`.

    The inner module computes the same, and its layers have the names that they had before it was wrapped.
    """
    while True:
        if isinstance(module, DataParallel | DistributedDataParallel):
            module = module.module
            continue
        children = module.__dict__.get("_modules")
        compiled = children.get(_COMPILED) if isinstance(children, dict) else None  # TorchScript has no dict
        if not isinstance(compiled, nn.Module):
            return module
        module = compiled


def class_of(module: nn.Module) -> type[nn.Module]:
    """Return the class that a module was written as; FSDP2 puts one of its own making in its place."""
    bases = type(module).__bases__
    return bases[1] if len(bases) == 2 and bases[0].__name__ == "FSDPModule" else type(module)


def without_wrappers(name: str) -> str:
    """Return the name that a module or a parameter has where nothing around it was wrapped by `torch.compile`."""
    return ".".join(part for part in name.split(".") if part != _COMPILED)


def pretrained_in(module: nn.Module) -> Any:
    """Return the outermost `PreTrainedModel` of transformers in a module: itself, or the one in an adapter of PEFT.

    A module without any is returned as it is.
    """
    return next((part for part in module.modules() if _is_pretrained(part)), module)


def base_model_of(module: nn.Module) -> Any:
    """Return the model without its head: what `AutoModel` loads; the model itself where it has no head."""
    pretrained = pretrained_in(module)
    name = getattr(pretrained, "base_model_prefix", "")
    inner = getattr(pretrained, name, None) if name else None
    return inner if isinstance(inner, nn.Module) else pretrained


def name_within(module: nn.Module, part: nn.Module) -> str:
    """Return the name of a part of a module, as layers are named; empty where it is the module itself, or no part."""
    return next((name for name, inner in module.named_modules() if inner is part), "")


def base_prefix(module: nn.Module) -> str:
    """Return what stands before the names of layers of the base model: `bert.`, or nothing where it has no head."""
    name = name_within(module, base_model_of(module))
    return f"{name}." if name else ""


def input_device(module: nn.Module) -> torch.device:
    """Return where a module takes its inputs: the CPU where it has no parameters.

    Weights that accelerate keeps elsewhere, on another device or on disk, are on no device until they are used; then
    what runs says where it computes.
    """
    for part in module.modules():
        for parameter in part.parameters(recurse=False):
            if parameter.device.type != "meta":
                return parameter.device
            computing = getattr(getattr(part, "_hf_hook", None), "execution_device", None)
            if computing is not None:
                return torch.device(computing)
    return torch.device("cpu")


def _is_pretrained(module: nn.Module) -> bool:
    """Tell a model of transformers without importing transformers, which may not be installed."""
    return any(
        parent.__name__ == "PreTrainedModel" and parent.__module__.startswith("transformers.")
        for parent in type(module).__mro__
    )
