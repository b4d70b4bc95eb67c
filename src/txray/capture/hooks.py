"""Forward hooks on named modules: they look, and change nothing."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from txray.errors import CaptureError, UnknownNameError
from txray.models.base_model import input_device


class Captured:
    """The latest output of each captured layer."""

    def __init__(self, *, strict: bool = True, copied: Collection[str] = ()) -> None:
        self._outputs: dict[str, tuple[Tensor, int]] = {}
        self._strict = strict
        self._copied = frozenset(copied)

    def put(self, layer: str, output: Any) -> None:
        """Keep what a layer returned: its first tensor."""
        tensor = first_tensor(output)
        if tensor is not None:
            kept = tensor.detach().clone() if layer in self._copied else tensor.detach()
            self._outputs[layer] = kept, _version(kept)
        elif self._strict:
            raise CaptureError(f"layer {layer!r}: returns {type(output).__name__}, which holds no tensor")

    def take(self, layer: str) -> Tensor:
        """What the layer gave since the last `take`, as it gave it.

        Raises:
            CaptureError: the layer did not run, or the model changed its output afterwards.
        """
        changed, output = self.take_changed(layer)
        if changed:
            raise CaptureError(
                f"layer {layer!r}: the model changed its output in place, for these documents only; collect the "
                "layer that does so, or make that one work on a copy (inplace=False)"
            )
        return output

    def take_changed(self, layer: str) -> tuple[bool, Tensor]:
        """The same, and whether the model changed the output in place afterwards: then it is lost.

        Raises:
            CaptureError: the layer did not run.
        """
        if layer not in self._outputs:
            raise CaptureError(f"layer {layer!r}: did not run in the forward pass, so it has no activations")
        output, version = self._outputs.pop(layer)
        return _version(output) != version, output

    def layers(self) -> list[str]:
        """The layers that ran since the last `take`, in the order in which they ended."""
        return list(self._outputs)


def _version(tensor: Tensor) -> int:
    """Rises with every change in place; tensors of inference mode do not count them."""
    return 0 if tensor.is_inference() else tensor._version


def first_tensor(output: Any) -> Tensor | None:
    """The tensor that an output is about: itself, or the first one of a tuple or a record of outputs."""
    match output:
        case Tensor():
            return output
        case PackedSequence():
            return pad_packed_sequence(output, batch_first=True)[0]
        case Mapping():  # such as the records of outputs of transformers
            return first_tensor(tuple(output.values()))
        case tuple() | list():
            found = (first_tensor(each) for each in output)
            return next((tensor for tensor in found if tensor is not None), None)
    if is_dataclass(output) and not isinstance(output, type):
        return first_tensor(tuple(getattr(output, each.name) for each in fields(output)))
    return None


def with_first_tensor(output: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same output, its `first_tensor` changed; the output itself stays as it is.

    Args:
        output: of a layer; of packed sequences, `change` is given their rows, (positions, neurons).
        change: old -> new tensor.
    """
    match output:
        case Tensor():
            return change(output)
        case PackedSequence():
            return output._replace(data=change(output.data))
        case Mapping():
            changed = copy.copy(output)
            key = next((key for key, each in output.items() if first_tensor(each) is not None), None)
            if key is not None:
                changed[key] = with_first_tensor(output[key], change)  # type: ignore[index]
            return changed
        case tuple() | list():
            parts: list[Any] = list(output)
            place = next((i for i, each in enumerate(parts) if first_tensor(each) is not None), None)
            if place is not None:
                parts[place] = with_first_tensor(parts[place], change)
            return type(output)(*parts) if hasattr(output, "_fields") else type(output)(parts)
    if is_dataclass(output) and not isinstance(output, type):
        for each in fields(output):
            value = getattr(output, each.name)
            if first_tensor(value) is not None:
                return replace(output, **{each.name: with_first_tensor(value, change)})
    return output


@contextmanager
def capturing(
    model: nn.Module, layers: Sequence[str], *, strict: bool = True, copied: Collection[str] = ()
) -> Iterator[Captured]:
    """Record the outputs of named modules while the block runs; the model itself is not changed.

    Args:
        model: any module.
        layers: names or patterns, see `matching_layers`.
        strict: whether an output without a tensor is an error, instead of being passed over.
        copied: layers whose outputs the model changes in place afterwards, so that they are copied at once.

    Raises:
        UnknownNameError: a layer does not exist.
        CaptureError: within the block: a layer returned no tensor.
    """
    modules = dict(model.named_modules())
    captured = Captured(strict=strict, copied=copied)

    def hook_of(layer: str) -> Any:
        # A hook that returns None leaves the output as it is.
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            captured.put(layer, output)

        return hook

    handles = [
        modules[layer].register_forward_hook(hook_of(layer)) for layer in matching_layers(model, layers)
    ]
    try:
        yield captured
    finally:
        for handle in handles:
            handle.remove()


def layer_names(model: nn.Module) -> list[str]:
    """Names of all modules of a model that can be captured."""
    return [name for name, _ in model.named_modules() if name]


def matching_layers(model: nn.Module, patterns: Iterable[str]) -> list[str]:
    """The layers that names and patterns mean, in the order of the model for each pattern.

    In a pattern, `*` stands for anything within one part of a name (between dots), `**` for anything, `?` for
    one character, `[0-9]` for one of these characters: `encoder.layer.*.intermediate`, `model.layers.[0-9].mlp`.

    Args:
        model: any module.
        patterns: names of modules, or patterns.

    Raises:
        UnknownNameError: nothing is named so.
    """
    names = layer_names(model)
    known = set(names)
    found: dict[str, None] = {}
    for pattern in patterns:
        if pattern in known:
            found[pattern] = None
            continue
        matcher = layer_pattern(pattern)
        matched = [name for name in names if matcher.fullmatch(name)]
        if not matched:
            raise UnknownNameError.of("layer", pattern, names)
        found.update(dict.fromkeys(matched))
    return list(found)


def layer_pattern(pattern: str) -> re.Pattern[str]:
    """A pattern for names of layers, see `matching_layers`, as a regular expression."""
    parts = re.split(r"(\*\*|\*|\?|\[[^\[\]]+\])", pattern)
    rules = {"**": ".*", "*": "[^.]*", "?": "[^.]"}
    return re.compile(
        "".join(
            rules.get(part) or (_characters(part) if index % 2 else re.escape(part))
            for index, part in enumerate(parts)
        )
    )


def _characters(part: str) -> str:
    """`[0-9]` or `[!a]` as a regular expression; everything else in it is a character."""
    inner = part[1:-1].replace("\\", r"\\").replace("^", r"\^")
    return f"[^{inner[1:]}]" if inner.startswith("!") and len(inner) > 1 else f"[{inner}]"


@contextmanager
def evaluating(model: nn.Module, autocast: torch.dtype | None = None) -> Iterator[None]:
    """Evaluation mode without gradients, and the former mode of every module afterwards.

    Not inference mode: what a model makes then and keeps, such as a table of positions, could not be trained with
    afterwards, and nobody would see when an output is changed in place.

    Args:
        model: any module.
        autocast: the number type that operations run in where that is safe; None for that of the model.
    """
    former = {module: module.training for module in model.modules()}
    fused = torch.backends.mha.get_fastpath_enabled()
    model.eval()
    # PyTorch's own encoder has a fused path that skips its inner layers and gives tensors of uneven rows.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with (
            torch.no_grad(),
            torch.autocast(device_of(model).type, autocast, enabled=autocast is not None),
        ):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for module, training in former.items():
            module.training = training


def device_of(module: nn.Module) -> torch.device:
    """Return where a module takes its inputs; the CPU where it has no parameters."""
    return input_device(module)
