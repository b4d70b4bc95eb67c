"""Resolve layer names and patterns to hook points, by dry runs of the model."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from torch import nn

from txray.capture.compiled import require_observable
from txray.capture.dry_runs import DryRuns
from txray.capture.expert_modules import ModuleExpert, module_expert
from txray.capture.fused_experts import Experts, FusedExpert, experts_in, require_computable
from txray.capture.hook_point import HookPoint
from txray.capture.hooks import VERBS, Side, Tap, layer_names, matching_layers, modules_by_name
from txray.capture.layout import Axes, Layout, layout_of
from txray.capture.model_adapter import ModelAdapter, adapter_for
from txray.capture.selection import Selection
from txray.checks import is_integer
from txray.errors import CaptureError, UsageError
from txray.layer_patterns import matching_names
from txray.models.text_model import TextModel
from txray.preferences.stage_warnings import layer_warnings

_CALL, _INPUT, _EXPERT = "call=", "input", "expert="
"""Options after the name of a layer, separated by colons."""


@dataclass(frozen=True)
class Layer:
    """A layer to collect, or all layers that match a pattern, and how its activations are read.

    >>> Layer("encoder.act", call=1).label
    'encoder.act:call=1'

    Attributes:
        name: name of the module, or a pattern; see `matching_layers`.
        layout: order of the axes of its output; determined by a dry run by default.
        lag: time steps by which the output lags behind the input; that of the model's declaration by default.
        selection: which activations count; that of the collection by default.
        call: which call to read if the module runs several times in a forward pass: from 0, or from -1 backwards. If
            the module has several names, only calls under this name count. By default the last call, with a warning.
        input: whether to read the input of the module (the first tensor among its arguments) instead of its output.
        expert: for a module that holds the weights of several experts: the number of the expert whose neurons are
            read, from 0, or `*` for all experts, each as a layer of its own.

    Raises:
        UsageError: `call` is not an integer, `input` is neither True nor False, or `expert` is neither a number nor
            `*`, or is combined with `input`.
    """

    name: str
    layout: Axes = "auto"
    lag: int | None = None
    selection: Selection | str | None = None
    call: int | None = None
    input: bool = False
    expert: int | Literal["*"] | None = None

    def __post_init__(self) -> None:
        if self.call is not None:
            if not is_integer(self.call):
                raise UsageError(
                    f"layer {self.name!r}: call={self.call!r}; pass an integer, 0 for the first call"
                )
            object.__setattr__(self, "call", int(self.call))  # NumPy integers cannot be written as JSON
        if not isinstance(self.input, bool):
            raise UsageError(f"layer {self.name!r}: input={self.input!r}; pass True or False")
        if self.expert not in (None, "*"):
            if not is_integer(self.expert) or int(self.expert) < 0:
                raise UsageError(
                    f"layer {self.name!r}: expert={self.expert!r}; pass a number from 0, or '*' for all experts"
                )
            object.__setattr__(self, "expert", int(self.expert))
        if self.expert is not None and self.input:
            raise UsageError(
                f"layer {self.name!r}: expert={self.expert!r} and input=True; choose one: experts have no input of "
                "their own"
            )

    @classmethod
    def parse(cls, text: str) -> Layer:
        """Return the layer described by a text such as `act:call=1`, `mlp.down_proj:input` or `mlp.experts:expert=3`.

        A text with any other option after a colon is taken as the name of a layer.

        Raises:
            UsageError: an option occurs twice.
        """
        name, *options = text.split(":")
        layer = cls(name)
        for option in options:
            number, expert = option.removeprefix(_CALL), option.removeprefix(_EXPERT)
            if option == _INPUT:
                repeated, layer = layer.input, replace(layer, input=True)
            elif option.startswith(_CALL) and number.removeprefix("-").isdecimal():
                repeated, layer = layer.call is not None, replace(layer, call=int(number))
            elif option.startswith(_EXPERT) and (expert == "*" or expert.isdecimal()):
                repeated = layer.expert is not None
                layer = replace(layer, expert="*" if expert == "*" else int(expert))
            else:
                return cls(text)
            if repeated:
                raise UsageError(f"layer {text!r}: option {option!r} occurs twice; give it once")
        return layer

    @property
    def label(self) -> str:
        """Return the name of the layer in a stage: its name and its options, such as `act:call=1`."""
        options = [_INPUT] * self.input + [f"{_CALL}{self.call}"] * (self.call is not None)
        options += [] if self.expert is None else [f"{_EXPERT}{self.expert}"]
        return ":".join((self.name, *options))

    @property
    def side(self) -> Side:
        """Return which tensor of a call is read."""
        return "input" if self.input else "output"


Layers = str | Layer | Sequence[str | Layer]
"""Names of modules, patterns or `Layer` objects; a single one needs no list."""


@dataclass(frozen=True)
class LayerShape:
    """The output of a layer in a dry run.

    Attributes:
        name: name of the module.
        kind: its class.
        shape: shape of its output in the last call, for two documents of eleven positions (fewer if the model reads
            no more).
        layout: layout of the output; None if it has no activations per position.
        calls: number of its calls under this name in a forward pass.
        aliases: other names of the same module.
        experts: the experts whose weights the module holds; None if it holds none.
        routed: whether the layer is part of an expert and sees only some positions.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    layout: Layout | None
    calls: int = 1
    aliases: tuple[str, ...] = ()
    experts: Experts | None = None
    routed: bool = False

    @property
    def neurons(self) -> int | None:
        """Return the number of neurons; None if the layer has no activations per position."""
        return self.shape[-1] if self.routed else None if self.layout is None else self.layout.neurons


def layer_shapes(model: nn.Module | TextModel, patterns: str | Sequence[str] = "**") -> list[LayerShape]:
    """Return the layers of a model as in `txray.collect` that run in a forward pass, with the shapes of their outputs.

    Raises:
        UsageError: txray does not know how this type of model reads text.
        UnknownNameError: a name or pattern matches nothing.
        CaptureError: the whole model is TorchScript.
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
        routed = module_expert(adapter, runs, name, "output") is not None
        if len(runs.second.calls(name)) != len(calls) and not routed:
            continue  # the number of calls depends on the text
        tensors = runs.shapes(name, calls[-1].number, "output")
        if tensors is None:
            continue
        try:
            layout: Layout | None = None if routed else layout_of(name, *tensors)
        except CaptureError:
            layout = None
        aliases = tuple(runs.first.aliases(name))
        shapes.append(
            LayerShape(
                name,
                type(modules[name]).__name__,
                tensors[0].shape,
                layout,
                len(calls),
                aliases,
                experts_in(modules[name]),
                routed,
            )
        )
    return shapes


def hook_points_for(adapter: ModelAdapter, layers: Layers, selection: Selection) -> list[HookPoint]:
    """Return the hook points of layers; `selection` is that of the layers that have none of their own.

    Raises:
        UnknownNameError: unknown layer or layout.
        UsageError: a layer occurs twice, or a call or an expert does not exist.
        CaptureError: a layer does not run, does not run equally often for every input, has no activations per
            position, has more steps than the input without a `lag`, or is TorchScript; or the neurons of experts
            cannot be computed from the weights of their module.
    """
    modules = modules_by_name(adapter.module)
    names = names_of_layers(adapter.module, layers)
    watched = dict.fromkeys(name for matched in names.values() for name in matched)
    for name in watched:
        require_observable(modules, name, adapter.module)
    runs = DryRuns.of(adapter, watched)
    fused = {
        name: modules[name]
        for layer, matched in names.items()
        for name in matched
        if layer.expert is not None
    }
    require_computable(adapter, {name: module for name, module in fused.items() if experts_in(module)})
    layer_of_tensor: dict[tuple[nn.Module, int, Side, int | str], Layer] = {}
    hook_points = []
    for layer, matched in names.items():
        for single in _single_layers(modules, layer, runs.first.distinct(matched)):
            name = single.name
            hook_point = _hook_point_of(adapter, runs, single, selection)
            route = hook_point.tap.route
            key = (
                modules[name],
                hook_point.tap.number or 0,
                hook_point.tap.side,
                "" if route is None else route.expert,
            )
            if key in layer_of_tensor:
                raise UsageError(
                    f"collect: layer {hook_point.layer!r} is selected twice, by {layer_of_tensor[key].label!r} and "
                    f"{layer.label!r}; select it once"
                )
            layer_of_tensor[key] = layer
            hook_points.append(hook_point)
    return hook_points


def warn_of_reading(hook_points: Iterable[HookPoint], *, stacklevel: int) -> None:
    """Warn about calls that were not chosen and about random forward passes; collection warns by itself."""
    accounts = {point.layer: {**point.settings(), **point.observations()} for point in hook_points}
    for warning in layer_warnings(accounts):
        warnings.warn(warning, stacklevel=stacklevel)


def names_of_layers(module: nn.Module, layers: Layers) -> dict[Layer, list[str]]:
    """Return the names of the modules that each layer or pattern matches.

    Raises:
        UnknownNameError: a layer matches nothing.
        UsageError: an option of a layer occurs twice.
    """
    known = layer_names(module)
    parsed = [
        layer if isinstance(layer, Layer) else Layer(layer) if layer in known else Layer.parse(layer)
        for layer in as_layers(layers)
    ]
    return {layer: matching_names(layer.name, known) for layer in parsed}


def as_layers(layers: Layers) -> Sequence[str | Layer]:
    """Return one or several layers as a sequence."""
    return (layers,) if isinstance(layers, str | Layer) else layers


def _single_layers(modules: Mapping[str, nn.Module], layer: Layer, names: Iterable[str]) -> Iterator[Layer]:
    """Yield a layer for every module that it matches, and for every expert if it asks for all of them."""
    for name in names:
        if layer.expert is None:
            yield replace(layer, name=name)
            continue
        experts = experts_in(modules[name])
        if experts is None:
            raise CaptureError(
                f"layer {layer.label!r}: a {type(modules[name]).__name__} does not hold the weights of its experts in "
                f"one tensor; name the modules of its experts, if it has any, without ':{_EXPERT}'"
            )
        numbers = range(experts.number)
        if layer.expert != "*" and layer.expert not in numbers:
            raise UsageError(
                f"layer {replace(layer, name=name).label!r}: has {experts.number} experts: pass 0 to {numbers[-1]}"
            )
        for number in numbers if layer.expert == "*" else [layer.expert]:
            yield replace(layer, name=name, expert=number)


def _hook_point_of(adapter: ModelAdapter, runs: DryRuns, layer: Layer, selection: Selection) -> HookPoint:
    """Return the hook point of one module, or of one expert."""
    name = layer.name
    if layer.expert is None and layer.call is None:
        expert = module_expert(adapter, runs, name, layer.side)
        if expert is not None:
            return _hook_point_in_expert(adapter, runs, layer, selection, expert)
    call, calls = _call(runs, layer)
    label = replace(layer, call=None if layer.call is None else call).label
    number = runs.first.calls(name)[call].number
    fused = None if layer.expert in (None, "*") else FusedExpert(int(layer.expert))
    side: Side = layer.side if fused is None else "input"
    tensors = runs.shapes(name, number, side)
    verb = VERBS[side]
    if tensors is None:
        raise CaptureError(f"layer {label!r}: {verb} no tensor; choose another layer")
    layout = layout_of(label, *tensors, layer.layout, verb)
    if fused is not None:
        layout = _layout_of_expert(label, layout, experts_in(runs.first.modules[name]))
    lag = adapter.lag(name) if layer.lag is None else layer.lag
    if layout.missing < 0 and lag is None:
        raise CaptureError(
            f"layer {label!r}: has {tensors[0].steps - layout.missing} steps for {tensors[0].steps} positions, so its "
            f"steps cannot be matched to words; pass txray.Layer({name!r}, lag=1), or TextModel(lags=...), if the "
            "model puts an extra step before the text (lag=0: after it), or use a forward= that adds none"
        )
    return HookPoint(
        layer=label,
        tap=Tap(
            label=label,
            layer=name,
            side=layer.side,
            number=number,
            calls=len(runs.first.all_calls(name)),
            copied=runs.changed(name, number, layer.side),
            route=fused,
        ),
        layout=layout,
        lag=lag or 0,
        pooling=adapter.pooling,
        selection=Selection.parse(layer.selection or selection),
        call=call,
        calls=calls,
        call_assumed=calls > 1 and layer.call is None,
        random=runs.random(name, number, side),
    )


def _layout_of_expert(label: str, layout: Layout, experts: Experts | None) -> Layout:
    """Return the layout of an expert's neurons, whose positions are those of the inputs of its module."""
    if layout.axes not in ("flat", "batch-time-neurons") or layout.missing or experts is None:
        raise CaptureError(
            f"layer {label!r}: its module receives {layout.axes} with {layout.missing} missing steps; the neurons of "
            "experts need documents, then time; collect the output of the module"
        )
    return Layout("flat", experts.neurons)


def _hook_point_in_expert(
    adapter: ModelAdapter, runs: DryRuns, layer: Layer, selection: Selection, expert: ModuleExpert
) -> HookPoint:
    """Return the hook point of a layer inside an expert that is a module of its own."""
    label, name = layer.label, layer.name
    ran = all(trace.all_calls(name) for trace in (runs.first, runs.again))
    return HookPoint(
        layer=label,
        tap=Tap(label=label, layer=name, side=layer.side, number=0, calls=1, route=expert),
        layout=Layout("flat", expert.neurons),
        lag=0,
        pooling=adapter.pooling,
        selection=Selection.parse(layer.selection or selection),
        random=ran and runs.random(name, 0, layer.side),
    )


def _call(runs: DryRuns, layer: Layer) -> tuple[int, int]:
    """Return the index of the requested call of a layer, from 0, and the number of calls under its name."""
    traces = (runs.first, runs.again, runs.second)
    counts = [len(trace.calls(layer.name)) for trace in traces]
    if not all(counts):
        ran = runs.first.ran
        raise CaptureError(
            f"layer {layer.name!r}: did not run in the forward pass; choose one that ran: "
            f"{', '.join(ran[:20])}{', ...' if len(ran) > 20 else ''}"
        )
    totals = [len(trace.all_calls(layer.name)) for trace in traces]
    if len(set(totals)) > 1:
        raise CaptureError(
            f"layer {layer.name!r}: its module ran {min(totals)} times for one input and {max(totals)} times for "
            "another, so its calls cannot be distinguished; choose a layer that runs equally often for every text"
        )
    if len({tuple(call.number for call in trace.calls(layer.name)) for trace in traces}) > 1:
        raise CaptureError(
            f"layer {layer.name!r}: different modules call it for different inputs, so its calls cannot be "
            "distinguished; choose a layer that runs in the same order for every text"
        )
    if any(call.recursive for call in runs.first.all_calls(layer.name)):
        raise CaptureError(
            f"layer {layer.name!r}: runs within itself, so its calls cannot be distinguished; choose another layer"
        )
    count = counts[0]
    number = -1 if layer.call is None else layer.call
    if not -count <= number < count:
        raise UsageError(
            f"layer {layer.name!r}: call={number}; it runs {count} time{'s' * (count != 1)} in a forward pass: pass "
            f"0 to {count - 1}, or omit it"
        )
    return number % count, count
