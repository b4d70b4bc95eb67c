"""Run models without compiled code while they are observed: it ignores hooks that are registered after compilation."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from txray.errors import CaptureError


def _dynamo() -> Any:
    """Return PyTorch's compiler, or None where nothing was compiled in this process: its import takes seconds."""
    return sys.modules.get("torch._dynamo")


@contextmanager
def without_compiled_code() -> Iterator[None]:
    """Run every module as plain Python while the block runs; compiled code is kept and used again afterwards."""
    if _dynamo() is None:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def is_observable(module: nn.Module) -> bool:
    """Return whether hooks can be registered on a module; TorchScript runs beside Python and has none."""
    return not isinstance(module, torch.jit.ScriptModule) or isinstance(
        module, torch.jit._trace.TopLevelTracedModule
    )


def require_observable(modules: Mapping[str, nn.Module], name: str, root: nn.Module) -> None:
    """Refuse a layer that is TorchScript, or lies within a module that is.

    Args:
        modules: every module of the model by name.
        name: of the layer.
        root: the model itself.

    Raises:
        CaptureError: it is TorchScript, whose activations cannot be seen.
    """
    parts = name.split(".")
    around = [
        ("", root),
        *((".".join(parts[:n]), modules.get(".".join(parts[:n]))) for n in range(1, len(parts))),
    ]
    script = next((of for of, module in around if isinstance(module, torch.jit.ScriptModule)), None)
    if script is None and is_observable(modules[name]):
        return
    what = "is" if script is None else f"lies within {script!r}," if script else "lies within"
    raise CaptureError(
        f"layer {name!r}: {what} TorchScript code (torch.jit.script or torch.jit.trace), which runs beside Python, so "
        "its activations cannot be seen; give the model as it was before it was scripted or traced"
    )
