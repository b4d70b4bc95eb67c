"""Where a model runs."""

from __future__ import annotations

import torch

from txray.errors import UnknownNameError, UsageError

_DEVICES = ("auto", "cpu", "cuda")


def device_of(name: str) -> torch.device:
    """The device that a name stands for.

    Args:
        name: `cpu`, `cuda`, or `auto`: CUDA where there is one.

    Raises:
        UnknownNameError: another name.
        UsageError: `cuda` where there is none.
    """
    if name not in _DEVICES:
        raise UnknownNameError.of("device", name, _DEVICES)
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise UsageError("device 'cuda': torch finds no CUDA device here; use 'auto' or 'cpu'")
    return (
        torch.device("cuda", torch.cuda.current_device()) if found and name != "cpu" else torch.device("cpu")
    )
