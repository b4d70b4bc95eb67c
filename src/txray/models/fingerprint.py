"""Fingerprints of a model: of everything it has learned and how it is built, and of the code that it runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import is_dataclass
from hashlib import sha256
from typing import Any

import torch
from torch import nn

from txray.errors import UsageError
from txray.identity import identity_of, tensor_bytes
from txray.models.base_model import class_of, unwrapped, without_wrappers

_INCIDENTAL = ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype")
"""Of a configuration: where and by what it was saved; the numbers themselves tell their type."""


def model_fingerprint(model: nn.Module) -> str:
    """Return the SHA-256 of a model.

    It covers name, number type, shape and values of all parameters and buffers; the class of every module and its plain
    attributes, such as the number of heads; and, instead of the attributes, the configuration where a module has one.
    Wrappers that only say how a model runs do not count, such as `DataParallel`.
    """
    model = unwrapped(model)
    digest = sha256()
    for part in _structure(model):
        digest.update(part.encode("utf-8", "surrogatepass"))
    state = {without_wrappers(key): (key, value) for key, value in model.state_dict().items()}
    for name, (key, value) in sorted(state.items()):
        digest.update(repr(name).encode("utf-8", "surrogatepass"))
        if isinstance(value, torch.Tensor):
            digest.update(tensor_bytes(_stored(model, key, value)))
        else:  # what a module says of itself by `get_extra_state`
            digest.update(repr(value).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def computation_fingerprint(model: nn.Module) -> str:
    """Return a fingerprint of the code that a model runs, beside all that `model_fingerprint` covers.

    A class of the user's own counts by its content, and so do functions and objects that are attributes of modules,
    except of those whose configuration says how they were made.

    Returns:
        A fingerprint as `txray.identity.identity_of` gives it, which may be an unidentified one.
    """
    return identity_of(list(_computation(model)))


def _stored(model: nn.Module, key: str, value: torch.Tensor) -> torch.Tensor:
    """Return a tensor of the state of a model, wherever its numbers are: in memory, on disk, or in parts.

    Raises:
        UsageError: its numbers are spread over several processes, or nowhere.
    """
    mesh = getattr(value, "device_mesh", None)  # of a DTensor, as FSDP2 makes them
    if mesh is not None:
        if mesh.size() > 1:
            raise UsageError(
                f"model of type {type(model).__name__}: its weights are spread over {mesh.size()} processes (FSDP); "
                "save it, and read what was saved"
            )
        local: torch.Tensor = value.to_local()  # type: ignore[attr-defined]
        return local
    if value.device.type != "meta":
        return value
    owner, _, name = key.rpartition(".")
    hook = getattr(model.get_submodule(owner), "_hf_hook", None)
    weights = getattr(hook, "weights_map", None)  # of accelerate, which keeps them on disk or in memory
    if weights is None:
        raise UsageError(
            f"model of type {type(model).__name__}: weight {key} is on the device 'meta', without numbers; load the "
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
    """Return the attributes of a module beside its submodules and tensors, by name."""
    return {
        name: value
        for name, value in sorted(vars(module).items())
        if name != "training" and not name.startswith("_")
    }


def _structure(module: nn.Module, name: str = "", *, configured: bool = False) -> Iterator[str]:
    """Yield the class of every module and how it was built: what it computes beside its weights."""
    module = unwrapped(module)
    configuration = _configuration(module)
    configured = configured or configuration is not None
    plain = {} if configured else _plain_attributes(module)
    yield repr((name, class_of(module).__name__, configuration, sorted(plain.items())))
    for key, child in module.named_children():
        yield from _structure(child, f"{name}.{key}", configured=configured)


def _plain_attributes(module: nn.Module) -> dict[str, object]:
    return {name: value for name, value in _attributes(module).items() if _is_plain(value)}


def _is_plain(value: object) -> bool:
    if type(value) in (list, tuple):
        return all(map(_is_plain, value))  # type: ignore[call-overload]
    return value is None or type(value) in (bool, int, float, str)


def _configuration(module: nn.Module) -> str | None:
    """Return the configuration of a module as text; None if it has none."""
    config: Any = getattr(module, "config", None)
    # Asked first, because configurations of transformers are dataclasses as well.
    if hasattr(config, "to_dict"):
        facts = {key: value for key, value in config.to_dict().items() if key not in _INCIDENTAL}
        return json.dumps(facts, sort_keys=True, default=str)
    return repr(config) if is_dataclass(config) else None
