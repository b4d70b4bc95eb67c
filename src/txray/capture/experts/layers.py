"""Resolve experts, and layers inside experts, to hook points."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from torch import nn

from txray.capture.experts.as_modules import ModuleExpert
from txray.capture.experts.fused import Experts, FusedExpert, experts_in, require_computable
from txray.capture.forward.dry_runs import DryRuns, Reading
from txray.capture.forward.hooks import VERBS, Tap
from txray.capture.forward.layout import Layout, layout_of
from txray.capture.hook_point import HookPoint
from txray.capture.layer import Layer
from txray.capture.model_adapter import ModelAdapter
from txray.capture.selection import Selection
from txray.errors import CaptureError, UsageError


def single_layers(modules: Mapping[str, nn.Module], layer: Layer, names: Iterable[str]) -> Iterator[Layer]:
    """Yield a layer for every module that a layer matches, and for every expert if it asks for all of them.

    Raises:
        UsageError: an expert does not exist.
        CaptureError: a module does not hold the weights of experts.
    """
    for name in names:
        if layer.expert is None:
            yield replace(layer, name=name)
            continue
        numbers = range(_experts(modules[name], replace(layer, name=name)).number)
        if layer.expert != "*" and layer.expert not in numbers:
            raise UsageError(
                f"layer {replace(layer, name=name).label!r}: there are {len(numbers)} experts; pass 0 to {numbers[-1]}"
            )
        for number in numbers if layer.expert == "*" else [layer.expert]:
            yield replace(layer, name=name, expert=number)


def require_readable_experts(
    adapter: ModelAdapter, modules: Mapping[str, nn.Module], layers: Mapping[Layer, Iterable[str]]
) -> None:
    """Check that the neurons of the requested experts can be computed from the weights of their modules.

    Raises:
        CaptureError: they cannot, or a module does not hold the weights of experts.
    """
    names = [
        (layer, name) for layer, matched in layers.items() if layer.expert is not None for name in matched
    ]
    for layer, name in names:
        _experts(modules[name], replace(layer, name=name))
    if names:
        require_computable(adapter, {name: modules[name] for _, name in names})


def hook_point_of_expert(
    adapter: ModelAdapter, runs: DryRuns, layer: Layer, selection: Selection, call: int, calls: int
) -> HookPoint:
    """Return the hook point of one expert of a module that holds the weights of all.

    Args:
        adapter, runs: the model and its dry runs.
        layer: the expert.
        selection: selection of a layer that has none of its own.
        call, calls: index of the call of the module under its name, and the number of these calls.
    """
    name, number = layer.name, runs.first.calls(layer.name)[call].number
    label = replace(layer, call=None if layer.call is None else call).label
    tensors = runs.shapes(Reading(name, "input", number=number))
    if tensors is None:
        raise CaptureError(f"layer {label!r}: its module {VERBS['input']} no tensor; choose another layer")
    layout = layout_of(label, *tensors, layer.layout, VERBS["input"])
    if layout.axes not in ("flat", "batch-time-neurons") or layout.missing:
        raise CaptureError(
            f"layer {label!r}: its module receives {tensors[0].shape} for {tensors[0].documents} documents of "
            f"{tensors[0].steps} positions; the neurons of experts need every position, documents before time; "
            "collect the output of the module"
        )
    return HookPoint(
        layer=label,
        tap=Tap(
            label=label,
            layer=name,
            number=number,
            calls=len(runs.first.all_calls(name)),
            route=FusedExpert(int(layer.expert or 0)),
        ),
        layout=Layout("flat", _experts(runs.first.modules[name], layer).neurons),
        lag=0,
        pooling=adapter.pooling,
        selection=Selection.parse(layer.selection or selection),
        call=call,
        calls=calls,
        call_assumed=calls > 1 and layer.call is None,
        random=runs.random(Reading(name, "input", number=number)),
    )


def hook_point_in_expert(
    adapter: ModelAdapter, runs: DryRuns, layer: Layer, selection: Selection, expert: ModuleExpert
) -> HookPoint:
    """Return the hook point of a layer inside an expert that is a module of its own."""
    name = layer.name
    ran = all(trace.all_calls(name) for trace in (runs.first, runs.again))
    return HookPoint(
        layer=layer.label,
        tap=Tap(label=layer.label, layer=name, side=layer.side, number=0, calls=1, route=expert),
        layout=Layout("flat", expert.neurons),
        lag=0,
        pooling=adapter.pooling,
        selection=Selection.parse(layer.selection or selection),
        random=ran and runs.random(Reading(name, layer.side, number=0)),
    )


def _experts(module: nn.Module, layer: Layer) -> Experts:
    experts = experts_in(module)
    if experts is None:
        raise CaptureError(
            f"layer {layer.label!r}: a {type(module).__name__} does not hold the weights of all experts in one tensor; "
            "if its experts are modules, name a layer inside them without ':expert='"
        )
    return experts
