"""Which model it was: a hash of everything it has learned."""

from __future__ import annotations

import hashlib

import torch
from torch import nn


def model_fingerprint(model: nn.Module) -> str:
    """SHA-256 of all parameter and buffer names, shapes and values."""
    digest = hashlib.sha256()
    state: dict[str, object] = model.state_dict()
    for key in sorted(state):
        value = state[key]
        if not isinstance(value, torch.Tensor):  # what a module says of itself by `get_extra_state`
            digest.update(repr((key, value)).encode("utf-8", "surrogatepass"))
            continue
        tensor = value.detach().cpu().contiguous()
        digest.update(repr((key, tuple(tensor.shape), str(tensor.dtype))).encode())
        # As bytes, because numpy lacks some of the number types of torch.
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
