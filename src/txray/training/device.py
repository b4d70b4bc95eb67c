"""The device a model runs on."""

from __future__ import annotations

import torch

from txray.errors import UnknownNameError, UsageError

_DEVICES = ("auto", "cpu", "cuda")


def device_of(name: str) -> torch.device:
    """Return the torch device `cpu`, `cuda`, or `auto`: CUDA if available, else the CPU.

    Raises:
        UnknownNameError: another name.
        UsageError: `cuda` without a CUDA device.
    """
    if name not in _DEVICES:
        raise UnknownNameError.of("device", name, _DEVICES)
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise UsageError("device 'cuda': torch finds no CUDA device; use 'auto' or 'cpu'")
    use_cuda = has_cuda and name != "cpu"
    return torch.device("cuda", torch.cuda.current_device()) if use_cuda else torch.device("cpu")
