"""Which model it was: a hash of everything it has learned."""

from __future__ import annotations

import hashlib
import json
from dataclasses import is_dataclass
from typing import Any

import torch
from torch import nn

from txray.errors import UsageError
from txray.models.base_model import pretrained_in


def model_fingerprint(model: nn.Module) -> str:
    """SHA-256 of all parameter and buffer names, shapes and values, and of the configuration if the model has one."""
    digest = hashlib.sha256(_configuration(model).encode("utf-8", "surrogatepass"))
    state: dict[str, object] = model.state_dict()
    for key in sorted(state):
        value = _stored(model, key, state[key])
        if not isinstance(value, torch.Tensor):  # what a module says of itself by `get_extra_state`
            digest.update(repr((key, value)).encode("utf-8", "surrogatepass"))
            continue
        tensor = value.detach().cpu().contiguous()
        digest.update(repr((key, tuple(tensor.shape), str(tensor.dtype))).encode())
        if tensor.numel() == 0:  # no bytes, and torch cannot view them as such
            continue
        # As bytes, because numpy lacks some of the number types of torch.
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _stored(model: nn.Module, key: str, value: Any) -> Any:
    """Return a value of the state of a model, wherever its numbers are: here, on disk, or in parts.

    Raises:
        UsageError: several processes hold parts of it.
    """
    if not isinstance(value, torch.Tensor):
        return value
    mesh = getattr(value, "device_mesh", None)  # of a DTensor, as FSDP2 makes them
    if mesh is not None:
        if mesh.size() > 1:
            raise UsageError(
                f"model of type {type(model).__name__}: its weights are spread over {mesh.size()} processes (FSDP); "
                "save it, and read what was saved"
            )
        return value.to_local()  # type: ignore[attr-defined]
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
    return weights[name]


_INCIDENTAL = ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype")
"""Of a configuration: where and by what it was saved; the numbers themselves tell their type."""


def _configuration(model: nn.Module) -> str:
    """What a model computes beside its weights, such as which activation function; empty where it does not say."""
    config: Any = getattr(model, "config", None) or getattr(pretrained_in(model), "config", None)
    # Asked first, because configurations of transformers are dataclasses as well.
    if hasattr(config, "to_dict"):
        settings = {key: value for key, value in config.to_dict().items() if key not in _INCIDENTAL}
        return json.dumps(settings, sort_keys=True, default=str)
    return repr(config) if is_dataclass(config) else ""
