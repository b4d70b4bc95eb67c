"""Forward hooks on named modules, which read tensors and change nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence
from torch.utils.hooks import RemovableHandle

from txray.capture.compiled import require_observable, without_compiled_code
from txray.errors import CaptureError
from txray.layer_patterns import matching_names
from txray.models.base_model import in_evaluation_mode, input_device, without_wrappers

Side = Literal["output", "input"]
"""Which tensor of a module's call is read."""
VERBS: Mapping[Side, str] = {"output": "returns", "input": "receives"}
"""What a module does with that tensor, for errors."""


@dataclass(frozen=True, eq=False, slots=True)
class RoutedRows:
    """Activations at the positions that were routed to an expert.

    Attributes:
        values: (n_routed, neurons) activations.
        positions: (n_routed,) position of each row among all (documents * time) positions.
        total: number of all positions.
        ambiguous: (n,) positions of which it is unknown whether the expert saw them.
    """

    values: Tensor
    positions: Tensor
    total: int
    ambiguous: Tensor | None = None


class Route(Protocol):
    """A way to read the activations of one expert, which sees only some positions."""

    @property
    def expert(self) -> int | str:
        """Return the number of the expert, or the name of its module."""

    def attached(
        self, modules: Mapping[str, nn.Module], tap: Tap, put: Callable[[RoutedRows], None]
    ) -> AbstractContextManager[Any]:
        """Call `put` in every call of the module that routes, inside a `with` block; the model's name is ''."""


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
        route: reads the activations of an expert; None for a layer that sees every position.
    """

    label: str
    layer: str
    side: Side = "output"
    number: int | None = None
    calls: int | None = None
    copied: bool = False
    route: Route | None = None


class Captured:
    """The tensors of the latest forward pass, by the labels of their taps."""

    def __init__(self, taps: Iterable[Tap]) -> None:
        """Start empty."""
        self._taps = {tap.label: tap for tap in taps}
        self._calls = dict.fromkeys(self._taps, 0)
        self._tensors: dict[str, tuple[Tensor, int]] = {}
        self._routed: dict[str, RoutedRows] = {}

    def put(self, tap: Tap, value: Any) -> None:
        """Count a call, and store its first tensor if it is the call of the tap."""
        if not self._is_next(tap):
            return
        tensor = first_tensor(value)
        if tensor is None:
            raise CaptureError(
                f"layer {tap.label!r}: {VERBS[tap.side]} {type(value).__name__}, which holds no tensor; "
                "choose another layer"
            )
        tensor = tensor.detach().clone() if tap.copied else tensor.detach()
        self._tensors[tap.label] = tensor, tensor_version(tensor)

    def put_routed(self, tap: Tap, rows: RoutedRows) -> None:
        """Count a call, and store the rows of an expert if it is the call of the tap."""
        if self._is_next(tap):
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
        tensor, version = self._tensors.pop(label)
        if tensor_version(tensor) != version:
            raise CaptureError(
                f"layer {label!r}: the model changed its {self._taps[label].side} in place, for these documents only; "
                "collect the layer that changes it, or set inplace=False there"
            )
        return tensor

    def _is_next(self, tap: Tap) -> bool:
        """Count a call, and return whether it is the call of the tap."""
        number = self._calls[tap.label]
        self._calls[tap.label] += 1
        return tap.number in (None, number)

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


def with_first_tensor(output: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return a copy of an output whose `first_tensor` is replaced by `change` of it.

    Args:
        output: output of a layer; for packed sequences, `change` receives their data, (positions, neurons).
        change: old -> new tensor.
    """
    match output:
        case Tensor():
            return change(output)
        case PackedSequence():
            return output._replace(data=change(output.data))
    parts = _parts(output)
    key = next((key for key, part in parts.items() if first_tensor(part) is not None), None)
    if key is None:
        return output
    changed = {**parts, key: with_first_tensor(parts[key], change)}
    match output:
        case Mapping():
            copied: Any = copy.copy(output)
            copied[key] = changed[key]
            return copied
        case tuple() | list():
            values = changed.values()
            return type(output)(*values) if hasattr(output, "_fields") else type(output)(values)
    return replace(output, **{key: changed[key]})


def _parts(output: Any) -> Mapping[Any, Any]:
    """Return the parts of a mapping, tuple or dataclass of outputs, by key, index or name; empty for anything else."""
    match output:
        case Mapping():  # such as the ModelOutput of transformers
            return output
        case tuple() | list():
            return dict(enumerate(output))
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
                hooks.enter_context(
                    tap.route.attached({**modules, "": model}, tap, partial(captured.put_routed, tap))
                )
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
