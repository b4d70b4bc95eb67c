"""Which layers are looked into: names and patterns become hook_points, by dry runs of the model."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import nn

from txray.capture.compiled import require_observable
from txray.capture.dry_runs import DryRuns
from txray.capture.hook_point import HookPoint
from txray.capture.hooks import Side, Tap, matching_layers, modules_by_name
from txray.capture.layout import Axes, Layout, layout_of
from txray.capture.model_adapter import ModelAdapter, adapter_for
from txray.capture.selection import Selection
from txray.checks import is_integer
from txray.errors import CaptureError, UsageError
from txray.models.text_model import TextModel
from txray.preferences.stage_warnings import layer_warnings

_CALL, _INPUT = "call=", "input"
"""What may follow the name of a layer, behind a colon."""


@dataclass(frozen=True)
class Layer:
    """What is collected of a layer, or of all layers that a pattern means.

    Attributes:
        name: of the module, or a pattern, see `matching_layers`.
        layout: order of the axes of its output; found out by a dry run by default.
        lag: time steps by which its output lags behind the input; what the model says by default.
        selection: which activations count; that of the collection by default.
        call: which call counts of a module that runs several times in a forward pass, from 0, or from the last one
            backwards from -1; of a module with several names, which of the calls made under this name. The last one by
            default, with a warning.
        input: whether what counts is what the module is given (the first tensor among its arguments), not its output.

    Raises:
        UsageError: a call that is no whole number, or an `input` that is neither True nor False.
    """

    name: str
    layout: Axes = "auto"
    lag: int | None = None
    selection: Selection | str | None = None
    call: int | None = None
    input: bool = False

    def __post_init__(self) -> None:
        if self.call is not None:
            if not is_integer(self.call):
                raise UsageError(
                    f"layer {self.name!r}: call={self.call!r}; give a whole number, 0 for the first call"
                )
            object.__setattr__(self, "call", int(self.call))  # of numpy's own kind, no JSON could hold it
        if not isinstance(self.input, bool):
            raise UsageError(f"layer {self.name!r}: input={self.input!r}; give True or False")

    @classmethod
    def parse(cls, text: str) -> Layer:
        """Return the layer that a text such as `encoder.act:call=1` or `mlp.down_proj:input` means.

        A text with anything else after a colon is the name of a layer as a whole.

        Raises:
            UsageError: an option twice.
        """
        name, *options = text.split(":")
        layer = cls(name)
        for option in options:
            number = option.removeprefix(_CALL)
            if option == _INPUT:
                repeated, layer = layer.input, replace(layer, input=True)
            elif option.startswith(_CALL) and number.removeprefix("-").isdecimal():
                repeated, layer = layer.call is not None, replace(layer, call=int(number))
            else:
                return cls(text)
            if repeated:
                raise UsageError(
                    f"layer {text!r}: option {option!r} comes after another one of its kind; give one"
                )
        return layer

    @property
    def label(self) -> str:
        """Return what the layer is called in a stage: its name, and its options, such as `act:call=1`."""
        options = [_INPUT] * self.input + [f"{_CALL}{self.call}"] * (self.call is not None)
        return ":".join((self.name, *options))

    @property
    def side(self) -> Side:
        """Return which tensor of a call counts."""
        return "input" if self.input else "output"


@dataclass(frozen=True)
class LayerShape:
    """What a dry run tells of a layer.

    Attributes:
        name: of the module.
        kind: its class.
        shape: of its output for two documents of eleven positions, or fewer where the model reads no more; of the last
            call.
        layout: how it is laid out; None where it has no activations per position.
        calls: how often it runs in a forward pass under this name.
        aliases: other names of the same module.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    layout: Layout | None
    calls: int = 1
    aliases: tuple[str, ...] = ()


def layer_shapes(model: nn.Module | TextModel, patterns: Sequence[str] = ("**",)) -> list[LayerShape]:
    """Return the layers that run when a model reads, with the shapes of their outputs.

    Args:
        model: a model of `txray.models`.
        patterns: names or patterns.

    Raises:
        UsageError: txray does not know how this kind of model reads.
        UnknownNameError: nothing is named so.
        CaptureError: all of the model is TorchScript.
    """
    adapter = adapter_for(model, outputs=False)
    names = matching_layers(adapter.module, patterns)
    modules = modules_by_name(adapter.module)
    runs = DryRuns.of(adapter, names)
    if not runs.first.ran:
        require_observable(modules, names[0], adapter.module)
    shapes = []
    ran = set(runs.first.ran) & set(runs.second.ran)
    for name in runs.first.distinct([name for name in names if name in ran]):
        calls = runs.first.calls(name)
        if len(runs.second.calls(name)) != len(calls):
            continue  # how often it runs depends on the text
        tensors = runs.shapes(name, calls[-1].number, "output")
        if tensors is None:
            continue
        try:
            layout: Layout | None = layout_of(name, *tensors)
        except CaptureError:
            layout = None
        aliases = tuple(runs.first.aliases(name))
        shapes.append(
            LayerShape(name, type(modules[name]).__name__, tensors[0].shape, layout, len(calls), aliases)
        )
    return shapes


def hook_points_for(
    adapter: ModelAdapter, layers: Iterable[Layer | str], selection: Selection
) -> list[HookPoint]:
    """Return one hook_point per layer.

    Args:
        adapter: of the model.
        layers: names, patterns, or more exactly what to collect.
        selection: of the layers that name none.

    Raises:
        UnknownNameError: no such layer or layout.
        UsageError: a layer twice, or a call that there is not.
        CaptureError: a layer that does not run, does not run equally often for every input, has no activations per
            position, or more steps than the input and nobody says which of them belongs to the first position; or
            TorchScript.
    """
    modules = modules_by_name(adapter.module)
    requested = [_requested(layer, modules) for layer in layers]
    names = {layer: matching_layers(adapter.module, [layer.name]) for layer in requested}
    for name in dict.fromkeys(name for matched in names.values() for name in matched):
        require_observable(modules, name, adapter.module)
    runs = DryRuns.of(adapter, {name for matched in names.values() for name in matched})
    meant: dict[tuple[nn.Module, int, Side], Layer] = {}
    hook_points = []
    for layer in requested:
        for name in runs.first.distinct(names[layer]):
            hook_point = _hook_point(adapter, runs, replace(layer, name=name), selection)
            key = (modules[name], hook_point.tap.number or 0, hook_point.tap.side)
            if key in meant:
                raise UsageError(
                    f"collect: layer {hook_point.layer!r} is meant twice, by {meant[key].label!r} and {layer.label!r}; "
                    "name each once"
                )
            meant[key] = layer
            hook_points.append(hook_point)
    return hook_points


def warn_of_reading(hook_points: Iterable[HookPoint], *, stacklevel: int) -> None:
    """Warn of calls that were not chosen and of random forward passes, where no stage is made that would."""
    for warning in layer_warnings(
        {hook_point.layer: {**hook_point.described(), **hook_point.observed()} for hook_point in hook_points}
    ):
        warnings.warn(warning, stacklevel=stacklevel)


def _requested(layer: Layer | str, modules: Mapping[str, nn.Module]) -> Layer:
    if isinstance(layer, Layer):
        return layer
    return Layer(layer) if layer in modules else Layer.parse(layer)


def _hook_point(adapter: ModelAdapter, runs: DryRuns, layer: Layer, selection: Selection) -> HookPoint:
    """Return the hook_point of one module."""
    name = layer.name
    call, calls = _call(runs, layer)
    label = replace(layer, call=None if layer.call is None else call).label
    number = runs.first.calls(name)[call].number
    tensors = runs.shapes(name, number, layer.side)
    if tensors is None:
        what = "is given" if layer.input else "returns"
        raise CaptureError(f"layer {label!r}: {what} nothing that holds a tensor; choose another layer")
    layout = layout_of(label, *tensors, layer.layout, "is given" if layer.input else "gives")
    lag = adapter.lag(name) if layer.lag is None else layer.lag
    if layout.missing < 0 and lag is None:
        raise CaptureError(
            f"layer {label!r}: has {tensors[0].steps - layout.missing} steps for {tensors[0].steps} positions, so "
            f"nobody can tell which is which; say by txray.Layer({name!r}, lag=1), or TextModel(lags=...), that "
            "the model puts a step of its own before the text (lag=0: behind it), or run it by a forward= that adds "
            "none"
        )
    chosen = layer.selection or selection
    return HookPoint(
        layer=label,
        tap=Tap(
            label=label,
            layer=name,
            side=layer.side,
            number=number,
            calls=len(runs.first.all_calls(name)),
            copied=runs.changed(name, number, layer.side),
        ),
        layout=layout,
        lag=lag or 0,
        pooling=adapter.pooling,
        selection=Selection.parse(chosen) if isinstance(chosen, str) else chosen,
        call=call,
        calls=calls,
        call_assumed=calls > 1 and layer.call is None,
        random=runs.random(name, number, layer.side),
    )


def _call(runs: DryRuns, layer: Layer) -> tuple[int, int]:
    """Return which call of a layer is meant, from 0, and how many there are under its name."""
    traces = (runs.first, runs.again, runs.second)
    counts = [len(trace.calls(layer.name)) for trace in traces]
    if not all(counts):
        ran = runs.first.ran
        raise CaptureError(
            f"layer {layer.name!r}: did not run in the forward pass, so it has no activations; those that ran: "
            f"{', '.join(ran[:20])}{', ...' if len(ran) > 20 else ''}"
        )
    totals = [len(trace.all_calls(layer.name)) for trace in traces]
    if len(set(totals)) > 1:
        raise CaptureError(
            f"layer {layer.name!r}: its module ran {min(totals)} times for one input and {max(totals)} times for "
            "another, so its calls cannot be told apart; choose a layer that runs equally often for every text"
        )
    if len({tuple(call.number for call in trace.calls(layer.name)) for trace in traces}) > 1:
        raise CaptureError(
            f"layer {layer.name!r}: other modules call it for one input than for another, so its calls cannot be told "
            "apart; choose a layer that runs in the same order for every text"
        )
    if any(call.recursive for call in runs.first.all_calls(layer.name)):
        raise CaptureError(
            f"layer {layer.name!r}: runs within itself, so its calls cannot be told apart; choose another layer"
        )
    count = counts[0]
    number = -1 if layer.call is None else layer.call
    if not -count <= number < count:
        raise UsageError(
            f"layer {layer.name!r}: call={number}; it runs {count} time{'s' * (count != 1)} in a forward pass: give "
            f"0 to {count - 1}, or leave it out"
        )
    return number % count, count
