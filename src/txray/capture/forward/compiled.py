"""Run models without compiled code, which ignores hooks that are registered after compilation."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from txray.errors import CaptureError


@contextmanager
def without_compiled_code() -> Iterator[None]:
    """Run every module as plain Python inside the block; compiled code is used again afterwards."""
    if "torch._dynamo" not in sys.modules:  # importing PyTorch's compiler takes seconds
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def is_observable(module: nn.Module) -> bool:
    """Return whether hooks can be registered on a module; TorchScript has none."""
    return not isinstance(module, torch.jit.ScriptModule) or isinstance(
        module, torch.jit._trace.TopLevelTracedModule
    )


def require_observable(modules: Mapping[str, nn.Module], name: str, root: nn.Module) -> None:
    """Raise if a layer is TorchScript, or is part of a TorchScript module, so that it cannot be observed.

    Args:
        modules: every module of the model by name.
        name: name of the layer.
        root: the model itself.

    Raises:
        CaptureError: it is.
    """
    parts = name.split(".")
    enclosing = [
        ("", root),
        *((".".join(parts[:n]), modules.get(".".join(parts[:n]))) for n in range(1, len(parts))),
    ]
    script = next((outer for outer, module in enclosing if isinstance(module, torch.jit.ScriptModule)), None)
    if script is None and is_observable(modules[name]):
        return
    relation = "is" if script is None else f"is part of {script!r}," if script else "is part of"
    raise CaptureError(
        f"layer {name!r}: {relation} TorchScript code (torch.jit.script or torch.jit.trace), which does not run in "
        "Python, so its activations cannot be observed; pass the model as it was before it was scripted or traced"
    )
