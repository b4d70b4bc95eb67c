"""Forward hooks on named modules: they look, and change nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence
from torch.utils.hooks import RemovableHandle

from txray.capture.compiled import require_observable, without_compiled_code
from txray.errors import CaptureError
from txray.layer_patterns import matching_names
from txray.models.base_model import input_device, without_wrappers

Side = Literal["output", "input"]
"""What is read of a module's call."""


@dataclass(frozen=True, slots=True)
class Tap:
    """One tensor of a forward pass: what one call of a module takes or gives.

    Attributes:
        label: what to call it; differs between the taps of a model.
        layer: name of the module.
        of: `output`, or `input`: the first tensor among the arguments.
        number: which of the module's calls in a forward pass, from 0; None: the last one.
        calls: how many there are in every forward pass; None: not known, and not checked.
        copied: whether the model changes the tensor in place afterwards, so that it is copied at once.
    """

    label: str
    layer: str
    side: Side = "output"
    number: int | None = None
    calls: int | None = None
    copied: bool = False


class Captured:
    """The tensors of the latest forward pass, by the labels of their taps."""

    def __init__(self, taps: Iterable[Tap], *, strict: bool = True) -> None:
        """Start empty; `strict`: something without a tensor is an error, instead of being passed over."""
        self._taps = {tap.label: tap for tap in taps}
        self._calls = dict.fromkeys(self._taps, 0)
        self._tensors: dict[str, tuple[Tensor, int]] = {}
        self._strict = strict

    def put(self, tap: Tap, value: Any) -> None:
        """Count a call, and keep the first tensor of what it took or gave if it is the one requested for."""
        number = self._calls[tap.label]
        self._calls[tap.label] += 1
        if tap.number not in (None, number):
            return
        tensor = first_tensor(value)
        if tensor is not None:
            tensor = tensor.detach().clone() if tap.copied else tensor.detach()
            self._tensors[tap.label] = tensor, tensor_version(tensor)
        elif self._strict:
            what = "returns" if tap.side == "output" else "is given"
            raise CaptureError(f"layer {tap.label!r}: {what} {type(value).__name__}, which holds no tensor")

    def take(self, label: str) -> Tensor:
        """Return the tensor of the forward pass since the last `take`, as it was then.

        Raises:
            CaptureError: the layer did not run, or not as often as in the dry run, or the model changed the tensor
                afterwards.
        """
        tap, calls = self._taps[label], self._calls[label]
        self._calls[label] = 0
        if calls and tap.calls not in (None, calls):
            raise CaptureError(
                f"layer {label!r}: its module ran {calls} times in this forward pass and {tap.calls} times in the dry "
                "run, so its calls cannot be told apart; choose a layer that runs equally often for every text"
            )
        if label not in self._tensors:
            raise CaptureError(f"layer {label!r}: did not run in the forward pass, so it has no activations")
        tensor, version = self._tensors.pop(label)
        if tensor_version(tensor) != version:
            raise CaptureError(
                f"layer {label!r}: the model changed its {tap.side} in place, for these documents only; collect the "
                "layer that does so, or make that one work on a copy (inplace=False)"
            )
        return tensor


def tensor_version(tensor: Tensor) -> int:
    """Return a number that rises with every change in place; 0 for tensors of inference mode, which do not count."""
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
def capturing(model: nn.Module, layers: Sequence[str | Tap], *, strict: bool = True) -> Iterator[Captured]:
    """Record the outputs of named modules while the block runs; the model itself is not changed.

    Args:
        model: any module.
        layers: names or patterns, see `matching_layers`, of which the last call counts; or taps, with labels that
            differ.
        strict: whether an output without a tensor is an error, instead of being passed over.

    Raises:
        UnknownNameError: a layer does not exist.
        CaptureError: the layer is TorchScript; within the block: a layer returned no tensor.
    """
    modules = modules_by_name(model)
    taps = [layer for layer in layers if isinstance(layer, Tap)]
    names = matching_layers(model, [layer for layer in layers if isinstance(layer, str)])
    taps += [Tap(name, name) for name in names]
    for tap in taps:
        require_observable(modules, tap.layer, model)
    captured = Captured(taps, strict=strict)
    # Hooks that return None leave inputs and outputs as they are.
    handles = [_hooked(modules[tap.layer], tap, captured) for tap in taps]
    try:
        with without_compiled_code():
            yield captured
    finally:
        for handle in handles:
            handle.remove()


def _hooked(module: nn.Module, tap: Tap, captured: Captured) -> RemovableHandle:
    if tap.side == "output":
        return module.register_forward_hook(lambda module, inputs, output: captured.put(tap, output))
    return module.register_forward_pre_hook(
        lambda module, inputs, named: captured.put(tap, (*inputs, *named.values())), with_kwargs=True
    )


def modules_by_name(model: nn.Module) -> dict[str, nn.Module]:
    """Return the modules of a model under all of their names; one that is registered twice has two.

    What `torch.compile` wraps has the name that it has without.
    """
    modules: dict[str, nn.Module] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        if name := without_wrappers(path):
            modules[name] = module
    return modules


def layer_names(model: nn.Module) -> list[str]:
    """Return the names of all modules of a model, a module that is registered twice under both."""
    return list(modules_by_name(model))


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
    return matching_names(patterns, layer_names(model))


@contextmanager
def evaluating(model: nn.Module, autocast: torch.dtype | None = None) -> Iterator[None]:
    """Evaluation mode without gradients, and the former mode of every module afterwards.

    Not inference mode: what a model makes then and keeps, such as a table of positions, could not be trained with
    afterwards, and nobody would see when an output is changed in place. Compiled code is left: it may have been made
    before there was anything to observe.

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
            without_compiled_code(),
            torch.no_grad(),
            torch.autocast(input_device(model).type, autocast, enabled=autocast is not None),
        ):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for module, training in former.items():
            module.training = training
