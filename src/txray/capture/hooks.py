"""Forward hooks on named modules: they look, and change nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from txray.errors import CaptureError, UnknownNameError


class Captured:
    """The latest output of each captured layer."""

    def __init__(self) -> None:
        self._outputs: dict[str, Tensor] = {}

    def put(self, layer: str, output: Any) -> None:
        """Keep what a layer returned; of a tuple (recurrent layers), the first part."""
        tensor = output[0] if isinstance(output, tuple) else output
        if not isinstance(tensor, Tensor) or tensor.dim() != 3:
            shape = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
            raise CaptureError(
                f"layer {layer!r}: its output is {shape}; collection needs (documents, time, neurons)"
            )
        self._outputs[layer] = tensor.detach()

    def take(self, layer: str) -> Tensor:
        """The (documents, time, neurons) output since the last `take`.

        Raises:
            CaptureError: the layer did not run.
        """
        if layer not in self._outputs:
            raise CaptureError(f"layer {layer!r}: did not run in the forward pass, so it has no activations")
        return self._outputs.pop(layer)


@contextmanager
def capturing(model: nn.Module, layers: Sequence[str]) -> Iterator[Captured]:
    """Record the outputs of named modules while the block runs; the model itself is not changed.

    Args:
        model: any module.
        layers: names as in `layer_names(model)`.

    Raises:
        UnknownNameError: a layer does not exist.
    """
    modules = dict(model.named_modules())
    for layer in layers:
        if layer not in modules or not layer:
            raise UnknownNameError.of("layer", layer, layer_names(model))
    captured = Captured()

    def hook_of(layer: str) -> Any:
        # A hook that returns None leaves the output as it is.
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            captured.put(layer, output)

        return hook

    handles = [modules[layer].register_forward_hook(hook_of(layer)) for layer in layers]
    try:
        yield captured
    finally:
        for handle in handles:
            handle.remove()


def layer_names(model: nn.Module) -> list[str]:
    """Names of all modules of a model that can be captured."""
    return [name for name, _ in model.named_modules() if name]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients, and the former mode of every module afterwards."""
    former = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, training in former.items():
            module.training = training
