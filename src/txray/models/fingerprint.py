"""Fingerprints of a model: of its weights and structure, and of the code that it runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import is_dataclass
from hashlib import sha256
from typing import Any

import torch
from torch import nn

from txray.errors import UsageError
from txray.identity import identity_of
from txray.models.base_model import class_of, is_adapted, unwrapped, without_wrappers
from txray.tensors import tensor_bytes

_INCIDENTAL = ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype")
"""Entries of a configuration that say where and how it was saved; the weights include their dtype."""


def model_fingerprint(model: nn.Module) -> str:
    """Return the SHA-256 of a model.

    It covers name, dtype, shape and values of all parameters and buffers; the class of every module; and its
    configuration or, if it has none, its plain attributes, such as the number of heads; and the scaling of adapters and
    which of them are active.
    Wrappers such as `DataParallel` make no difference.
    """
    model = unwrapped(model)
    digest = sha256()
    for part in _structure(model):
        digest.update(part.encode("utf-8", "surrogatepass"))
    state = {without_wrappers(key): (key, value) for key, value in model.state_dict().items()}
    for name, (key, value) in sorted(state.items()):
        digest.update(repr(name).encode("utf-8", "surrogatepass"))
        digest.update(_value_bytes(model, key, value))
    return digest.hexdigest()


def computation_fingerprint(model: nn.Module) -> str:
    """Return a fingerprint of the code that a model runs, which `model_fingerprint` does not cover.

    The user's own classes are described by their content, and so are functions and objects that are attributes of
    modules, except of modules with a configuration.

    Returns:
        A fingerprint of `txray.identity.identity_of`, which may be unidentified.
    """
    return identity_of(list(_computation(model)))


def _value_bytes(model: nn.Module, key: str, value: object) -> bytes:
    """Return a value of a model's state as bytes: a tensor, packed weights, or something from `get_extra_state`."""
    if isinstance(value, torch.Tensor):
        return tensor_bytes(_stored(model, key, value))
    if isinstance(value, list | tuple):
        return b"".join((repr(len(value)).encode(), *(_value_bytes(model, key, part) for part in value)))
    if isinstance(value, torch.ScriptObject):  # packed weights of a quantized recurrent layer
        return _value_bytes(model, key, value.__getstate__())
    return repr(value).encode("utf-8", "surrogatepass")


def _stored(model: nn.Module, key: str, value: torch.Tensor) -> torch.Tensor:
    """Return a tensor of a model's state, in memory or loaded from disk.

    Raises:
        UsageError: its values are spread over several processes, or missing.
    """
    mesh = getattr(value, "device_mesh", None)  # of a DTensor, as FSDP2 makes them
    if mesh is not None:
        if mesh.size() > 1:
            raise UsageError(
                f"model of type {type(model).__name__}: its weights are spread over {mesh.size()} processes (FSDP); "
                "save it, and load the saved model"
            )
        local: torch.Tensor = value.to_local()  # type: ignore[attr-defined]
        return local
    if value.device.type != "meta":
        return value
    owner, _, name = key.rpartition(".")
    hook = getattr(model.get_submodule(owner), "_hf_hook", None)
    weights = getattr(hook, "weights_map", None)  # of accelerate, on disk or in memory
    if weights is None:
        raise UsageError(
            f"model of type {type(model).__name__}: weight {key} is on the device 'meta', without values; load the "
            "model's weights"
        )
    offloaded: torch.Tensor = weights[name]
    return offloaded


def _computation(module: nn.Module, *, configured: bool = False) -> Iterator[object]:
    module = unwrapped(module)
    configured = configured or _configuration(module) is not None
    yield class_of(module)
    attributes = {} if configured else _attributes(module)
    yield {name: value for name, value in attributes.items() if not _is_plain(value)}
    for child in module.children():
        yield from _computation(child, configured=configured)


def _attributes(module: nn.Module) -> dict[str, object]:
    """Return the attributes of a module by name, without submodules and tensors."""
    return {
        name: value
        for name, value in sorted(vars(module).items())
        if name != "training" and not name.startswith("_")
    }


def _structure(module: nn.Module, name: str = "", *, configured: bool = False) -> Iterator[str]:
    """Yield the class and the configuration or plain attributes of every module."""
    module = unwrapped(module)
    configuration = _configuration(module)
    configured = configured or configuration is not None
    # The configuration of a model says nothing of its adapters, such as their scaling.
    attributes = {} if configured and not is_adapted(module) else _attributes(module)
    plain = [(attribute, value) for attribute, value in attributes.items() if _is_plain(value)]
    adapters = [_active_adapters(module)] if is_adapted(module) else []
    yield repr((name, class_of(module).__name__, configuration, plain, *adapters))
    for key, child in module.named_children():
        yield from _structure(child, f"{name}.{key}", configured=configured)


def _active_adapters(module: Any) -> list[str]:
    """Return the names of the adapters that take part in a forward pass: none while they are disabled."""
    return [] if module.disable_adapters else list(module.active_adapters)


def _is_plain(value: object) -> bool:
    if type(value) in (list, tuple):
        return all(map(_is_plain, value))  # type: ignore[call-overload]
    if type(value) is dict:
        return all(_is_plain(part) for pair in value.items() for part in pair)
    return value is None or type(value) in (bool, int, float, str)


def _configuration(module: nn.Module) -> str | None:
    """Return the configuration of a module as text; None if it has none."""
    config: Any = getattr(module, "config", None)
    # Checked first, because configurations of transformers are dataclasses as well.
    if hasattr(config, "to_dict"):
        entries = {key: value for key, value in config.to_dict().items() if key not in _INCIDENTAL}
        return json.dumps(entries, sort_keys=True, default=str)
    return repr(config) if is_dataclass(config) else None
