"""Forward hooks on named modules, which read tensors and change nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence
from torch.utils.hooks import RemovableHandle

from txray.capture.forward.compiled import require_observable, without_compiled_code
from txray.capture.forward.routes import Route, RoutedRows
from txray.errors import CaptureError
from txray.layer_patterns import matching_names
from txray.models.base_model import in_evaluation_mode, input_device, without_wrappers

Side = Literal["output", "input"]
"""Which tensor of a module's call is read."""
VERBS: Mapping[Side, str] = {"output": "returns", "input": "receives"}
"""What a module does with that tensor, for errors."""
Part = str | int
"""A part of an output: an index, a name, or a path of them, such as `hidden_states.2`."""


@dataclass(frozen=True, slots=True)
class Tap:
    """One tensor of a forward pass: the input or the output of one call of a module.

    Attributes:
        label: unique name of the tap.
        layer: name of the module.
        side: `output`, or `input` for the first tensor among the arguments.
        number: index of the call among the module's calls in a forward pass, from 0; None for the last one.
        calls: number of calls in every forward pass; None if unknown, which disables the check.
        copied: whether to copy the tensor at once, because the model changes it in place later.
        part: part of the output; None for its first tensor.
        stacked: whether each call reads one position: the tensors of all calls become one, with the calls as axis 1.
        route: reads the activations of an expert; None for a layer that sees every position.
    """

    label: str
    layer: str
    side: Side = "output"
    number: int | None = None
    calls: int | None = None
    copied: bool = False
    part: Part | None = None
    stacked: bool = False
    route: Route | None = None


class Captured:
    """The tensors of the latest forward pass, by the labels of their taps."""

    def __init__(self, taps: Iterable[Tap]) -> None:
        """Start empty."""
        self._taps = {tap.label: tap for tap in taps}
        self._calls = dict.fromkeys(self._taps, 0)
        self._tensors: dict[str, list[tuple[Tensor, int]]] = {}
        self._routed: dict[str, RoutedRows] = {}

    def put(self, tap: Tap, value: Any) -> None:
        """Count a call, and store its first tensor if it is the call of the tap."""
        number = self._count(tap)
        if not tap.stacked and tap.number not in (None, number):
            return
        tensor = first_tensor(value if tap.part is None else part_of(value, tap.part))
        if tensor is None:
            raise CaptureError(
                f"layer {tap.label!r}: {VERBS[tap.side]} {type(value).__name__}, which holds no tensor; "
                "choose another layer"
            )
        tensor = tensor.detach().clone() if tap.copied else tensor.detach()
        if not tap.stacked or number == 0:
            self._tensors[tap.label] = []
        self._tensors[tap.label].append((tensor, tensor_version(tensor)))

    def put_routed(self, tap: Tap, rows: RoutedRows) -> None:
        """Count a call, and store the rows of an expert if it is the call of the tap."""
        if self._count(tap) == tap.number:
            self._routed[tap.label] = rows

    def take_routed(self, label: str) -> RoutedRows:
        """Return the rows of an expert in the latest forward pass, and forget them.

        Raises:
            CaptureError: the module that routes did not run, or not as often as in the dry run.
        """
        self._require_calls(label, self._routed)
        return self._routed.pop(label)

    def take(self, label: str) -> Tensor:
        """Return the tensor of the latest forward pass, and forget it.

        Raises:
            CaptureError: the layer did not run, or not as often as in the dry run, or the model changed the tensor
                afterwards.
        """
        self._require_calls(label, self._tensors)
        tap, tensors = self._taps[label], self._tensors.pop(label)
        if any(tensor_version(tensor) != version for tensor, version in tensors):
            raise CaptureError(
                f"layer {label!r}: the model changed its {tap.side} in place, for these documents only; collect the "
                "layer that changes it, or set inplace=False there"
            )
        if not tap.stacked:
            return tensors[0][0]
        if len({tensor.shape for tensor, _ in tensors}) > 1:
            raise CaptureError(
                f"layer {label!r}: its calls have tensors of different sizes in this forward pass, so they cannot be "
                "matched to positions; choose another layer"
            )
        return torch.stack([tensor for tensor, _ in tensors], dim=1)

    def _count(self, tap: Tap) -> int:
        """Count a call, and return its number, from 0."""
        self._calls[tap.label] += 1
        return self._calls[tap.label] - 1

    def _require_calls(self, label: str, stored: Collection[str]) -> None:
        """Raise unless the module ran as often as in the dry run; begin to count the calls of the next pass."""
        tap, calls = self._taps[label], self._calls[label]
        self._calls[label] = 0
        if calls and tap.calls not in (None, calls):
            raise CaptureError(
                f"layer {label!r}: its module ran {calls} times in this forward pass and {tap.calls} times in the dry "
                "run, so its calls cannot be distinguished; choose a layer that runs equally often for every text"
            )
        if label not in stored:
            raise CaptureError(
                f"layer {label!r}: did not run in the forward pass; choose a layer that runs for every text"
            )


def tensor_version(tensor: Tensor) -> int:
    """Return a counter of in-place changes; 0 for tensors of inference mode, which have none."""
    return 0 if tensor.is_inference() else tensor._version


def first_tensor(output: Any) -> Tensor | None:
    """Return a tensor, or the first tensor of a tuple, mapping or dataclass of outputs; None if there is none."""
    match output:
        case Tensor():
            return output
        case PackedSequence():
            return pad_packed_sequence(output, batch_first=True)[0]
    tensors = map(first_tensor, _parts(output).values())
    return next((tensor for tensor in tensors if tensor is not None), None)


def part_of(output: Any, part: Part) -> Any:
    """Return a part of an output; None if there is no such part.

    >>> part_of({"hidden": (1, 2)}, "hidden.1")
    2

    Args:
        output: tuple, mapping or record.
        part: index, name, or a path of them, separated by dots. An index of a mapping or record counts its values.
    """
    for key in _keys(part):
        parts = _parts(output)
        key = _known_key(parts, key)
        if key is None:
            return None
        output = parts[key]
    return output


def part_names(output: Any) -> list[str]:
    """Return the names or indices of the parts of an output that hold a tensor."""
    return [str(key) for key, part in _parts(output).items() if first_tensor(part) is not None]


def with_first_tensor(output: Any, change: Callable[[Tensor], Tensor], part: Part | None = None) -> Any:
    """Return a copy of an output whose `first_tensor`, or that of a part, is replaced by `change` of it.

    Args:
        output: output of a layer; for packed sequences, `change` receives their data, (positions, neurons).
        change: old -> new tensor.
        part: part of the output; an output without it is returned unchanged.
    """
    return _with_changed(output, change, [] if part is None else _keys(part))


def _with_changed(output: Any, change: Callable[[Tensor], Tensor], keys: Sequence[Part]) -> Any:
    match output:
        case Tensor() if not keys:
            return change(output)
        case PackedSequence() if not keys:
            return output._replace(data=change(output.data))
    parts = _parts(output)
    if keys:
        key = _known_key(parts, keys[0])
    else:
        key = next((key for key, part in parts.items() if first_tensor(part) is not None), None)
    if key is None:
        return output
    changed = {**parts, key: _with_changed(parts[key], change, keys[1:])}
    match output:
        case Mapping():
            copied: Any = copy.copy(output)
            copied[key] = changed[key]
            return copied
        case tuple() | list():
            values = changed.values()
            return type(output)(*values) if hasattr(output, "_fields") else type(output)(values)
    return replace(output, **{key: changed[key]})


def _keys(part: Part) -> list[Part]:
    return [part] if isinstance(part, int) else list(part.split("."))


def _known_key(parts: Mapping[Any, Any], key: Part) -> Any:
    """Return the key of a part by its name or its index; None if there is none."""
    if key in parts:
        return key
    index = int(key) if str(key).isdecimal() else len(parts)
    return list(parts)[index] if index < len(parts) else None


def _parts(output: Any) -> Mapping[Any, Any]:
    """Return the parts of a mapping, tuple or dataclass of outputs, by key, index or name; empty for anything else."""
    match output:
        case Mapping():  # such as the ModelOutput of transformers
            return output
        case tuple() | list():
            names = getattr(output, "_fields", range(len(output)))
            return dict(zip(names, output, strict=True))
    if is_dataclass(output) and not isinstance(output, type):
        return {field.name: getattr(output, field.name) for field in fields(output)}
    return {}


@contextmanager
def capturing(model: nn.Module, layers: str | Tap | Sequence[str | Tap]) -> Iterator[Captured]:
    """Record tensors of named modules inside the block; the model is not changed.

    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> with capturing(model, "0") as captured:
    ...     _ = model(torch.zeros(5, 2))
    >>> captured.take("0").shape
    torch.Size([5, 3])

    Args:
        model: any module.
        layers: names or patterns (see `matching_layers`), for the output of the last call; or taps with distinct
            labels. A single one needs no list.

    Yields:
        The tensors of the latest forward pass, as the model returns them.

    Raises:
        UnknownNameError: a layer does not exist.
        CaptureError: the layer is TorchScript; inside the block: a layer returned no tensor.
    """
    layers = [layers] if isinstance(layers, str | Tap) else layers
    modules = modules_by_name(model)
    taps = [layer for layer in layers if isinstance(layer, Tap)]
    names = matching_layers(model, [layer for layer in layers if isinstance(layer, str)])
    taps += [Tap(name, name) for name in names]
    for tap in taps:
        require_observable(modules, tap.layer, model)
    captured = Captured(taps)
    with ExitStack() as hooks, without_compiled_code():
        for tap in taps:
            if tap.route is None:
                hooks.enter_context(_hooked(modules[tap.layer], tap, captured))
            else:
                put = partial(captured.put_routed, tap)
                hooks.enter_context(tap.route.attached({**modules, "": model}, tap.layer, tap.side, put))
        yield captured


def _hooked(module: nn.Module, tap: Tap, captured: Captured) -> RemovableHandle:
    # Hooks that return None leave inputs and outputs as they are.
    if tap.side == "output":
        return module.register_forward_hook(lambda module, inputs, output: captured.put(tap, output))
    return module.register_forward_pre_hook(
        lambda module, inputs, named: captured.put(tap, (*inputs, *named.values())), with_kwargs=True
    )


def modules_by_name(model: nn.Module) -> dict[str, nn.Module]:
    """Return the modules of a model by name; a module that is registered twice has two names.

    A module wrapped by `torch.compile` keeps its plain name.
    """
    modules: dict[str, nn.Module] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        if name := without_wrappers(path):
            modules[name] = module
    return modules


def layer_names(model: nn.Module) -> list[str]:
    """Return the names of all modules of a model; a module that is registered twice has two.

    >>> layer_names(nn.Sequential(nn.Linear(2, 3), nn.ReLU()))
    ['0', '1']
    """
    return list(modules_by_name(model))


def matching_layers(model: nn.Module, patterns: str | Iterable[str]) -> list[str]:
    """Return the names of the layers that match, without duplicates; in model order within each pattern.

    In a pattern, `*` matches anything within one part of a name (between dots), `**` anything, `?` one character, and
    `[0-9]` one of these characters: `encoder.layer.*.intermediate`, `model.layers.[0-9].mlp`.

    >>> matching_layers(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), "*")
    ['0', '1']

    Args:
        model: any module.
        patterns: names of modules, or patterns; a single one needs no list.

    Raises:
        UnknownNameError: a name or pattern matches nothing.
    """
    return matching_names(patterns, layer_names(model))


@contextmanager
def evaluating(model: nn.Module, autocast: torch.dtype | None = None) -> Iterator[None]:
    """Run the block in evaluation mode without gradients, and restore the mode of every module afterwards.

    Inference mode is not used: tensors that a model creates and keeps in it, such as a table of positions, could not
    be trained afterwards, and in-place changes of outputs would go unnoticed. Compiled code is not used either: it
    may have been compiled without hooks.

    Args:
        model: any module.
        autocast: dtype of the operations for which PyTorch considers it safe; None for that of the model.
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    # The fused path of PyTorch's encoder skips its inner layers and returns nested tensors.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with (
            in_evaluation_mode(model),
            without_compiled_code(),
            torch.no_grad(),
            torch.autocast(input_device(model).type, autocast, enabled=autocast is not None),
        ):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
