"""Find the transformer inside a head, an adapter of PEFT, `DataParallel` or `torch.compile`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

_COMPILED = "_orig_mod"
"""Attribute of a compiled module that holds the original module."""


def is_a(value: object, name: str) -> bool:
    """Return whether a value is an instance of a class of another library, without importing that library.

    Args:
        value: any object.
        name: name of the library and of the class, such as `transformers.PreTrainedModel`.
    """
    library, _, class_name = name.partition(".")
    return any(
        parent.__name__ == class_name and parent.__module__.partition(".")[0] == library
        for parent in type(value).__mro__
    )


def unwrapped(module: Any) -> Any:
    """Return the module inside wrappers that do not change its result or that it contains itself.

    These are `DataParallel`, `torch.compile`, the objects of nnsight, and PEFT's models, whose adapters are part of the
    layers of the inner module. These layers have their original names.
    """
    while True:
        inner = _inside(module)
        if inner is None:
            return module
        module = inner


def _inside(module: Any) -> nn.Module | None:
    """Return the module inside the outermost wrapper; None if there is no wrapper."""
    inner: object = None
    if isinstance(module, DataParallel | DistributedDataParallel):
        inner = module.module
    elif is_a(module, "nnsight.Envoy"):
        inner = module._module
    elif is_a(module, "peft.PeftModel"):
        inner = None if needs_peft(module) else module.get_base_model()
    else:
        children = module.__dict__.get("_modules")
        inner = children.get(_COMPILED) if isinstance(children, dict) else None  # TorchScript has no dict
    return inner if isinstance(inner, nn.Module) else None


def needs_peft(model: Any) -> bool:
    """Return whether a model of PEFT does more than call its base model, in whose layers most adapters are."""
    config = model.active_peft_config
    # Virtual tokens are put before the text; an activated LoRA looks for its invocation in the text.
    return bool(config.is_prompt_learning or getattr(config, "alora_invocation_tokens", None))


def is_adapted(module: nn.Module) -> bool:
    """Return whether a module is a layer with an adapter of PEFT, which contains the original layer."""
    return is_a(module, "peft.BaseTunerLayer")


def class_of(module: nn.Module) -> type[nn.Module]:
    """Return the original class of a module, which FSDP2 replaces by a generated one."""
    bases = type(module).__bases__
    return bases[1] if len(bases) == 2 and bases[0].__name__ == "FSDPModule" else type(module)


def without_wrappers(name: str) -> str:
    """Return the name of a module or parameter without the wrappers of `torch.compile`."""
    return ".".join(part for part in name.split(".") if part != _COMPILED)


def pretrained_in(module: nn.Module) -> Any:
    """Return the outermost `PreTrainedModel` in a module (itself, or inside an adapter of PEFT).

    A module without one is returned unchanged.
    """
    return next((part for part in module.modules() if is_a(part, "transformers.PreTrainedModel")), module)


def base_model_of(module: nn.Module) -> Any:
    """Return the model without its head, as `AutoModel` loads it; the model itself if it has no head."""
    pretrained = pretrained_in(module)
    name = getattr(pretrained, "base_model_prefix", "")
    inner = getattr(pretrained, name, None) if name else None
    return inner if isinstance(inner, nn.Module) else pretrained


def base_prefix(module: nn.Module) -> str:
    """Return the prefix of the layer names of the base model, e.g. `bert.`; empty if there is no head."""
    base = base_model_of(module)
    name = next((name for name, part in module.named_modules() if part is base), "")
    return f"{name}." if name else ""


def input_device(module: nn.Module) -> torch.device:
    """Return the device of the inputs of a module; the CPU if it has no parameters.

    Weights that accelerate stores elsewhere (on another device or on disk) are on the device `meta` until they are
    used; their hook knows where the module computes.
    """
    for part in module.modules():
        for parameter in part.parameters(recurse=False):
            if parameter.device.type != "meta":
                return parameter.device
            computing = getattr(getattr(part, "_hf_hook", None), "execution_device", None)
            if computing is not None:
                return torch.device(computing)
    return torch.device("cpu")


@contextmanager
def in_evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode, and restore the mode of each of its parts afterwards."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training
