"""Which model it was: a hash of everything it has learned."""

from __future__ import annotations

import hashlib
import json
from dataclasses import is_dataclass
from typing import Any

import torch
from torch import nn

from txray.capture.compiled import without_wrappers


def model_fingerprint(model: nn.Module) -> str:
    """SHA-256 of all parameter and buffer names, shapes and values, and of the configuration if the model has one."""
    digest = hashlib.sha256(_configuration(model).encode("utf-8", "surrogatepass"))
    state = {without_wrappers(key): value for key, value in model.state_dict().items()}
    for key in sorted(state):
        value = state[key]
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


_INCIDENTAL = ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype")
"""Of a configuration: where and by what it was saved; the numbers themselves tell their type."""


def _configuration(model: nn.Module) -> str:
    """What a model computes beside its weights, such as which activation function; empty where it does not say."""
    config: Any = getattr(model, "config", None)
    if is_dataclass(config):
        return repr(config)
    if not hasattr(config, "to_dict"):
        return ""
    told = {key: value for key, value in config.to_dict().items() if key not in _INCIDENTAL}
    return json.dumps(told, sort_keys=True, default=str)
