"""Resolve layer names and patterns to hook points, by dry runs of the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from torch import nn

from txray.activations.stored import StoredActivations
from txray.capture.experts.as_modules import module_expert
from txray.capture.experts.fused import Experts, experts_in
from txray.capture.experts.layers import (
    hook_point_in_expert,
    hook_point_of_expert,
    require_readable_experts,
    single_layers,
)
from txray.capture.forward.compiled import require_observable
from txray.capture.forward.dry_runs import DryRuns, Reading, fills_windows, runs_in_text_order
from txray.capture.forward.heads import n_heads
from txray.capture.forward.hooks import VERBS, Tap, layer_names, matching_layers, modules_by_name
from txray.capture.forward.layout import Layout, layout_of
from txray.capture.forward.through import Through, module_for
from txray.capture.hook_point import THROUGH, HookPoint
from txray.capture.layer import Layer, Layers, as_layers
from txray.capture.model_adapter import ModelAdapter
from txray.capture.selection import Selection
from txray.capture.source_for import Source, source_for
from txray.capture.stored.adapter import StoredAdapter
from txray.errors import CaptureError, UnknownNameError, UsageError, warn_user
from txray.layer_patterns import matching_names
from txray.models.text_model import TextModel
from txray.preferences.stage_warnings import layer_warnings


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


def layer_shapes(
    model: nn.Module | TextModel | StoredActivations, patterns: str | Sequence[str] = "**"
) -> list[LayerShape]:
    """Return the layers of a model as in `txray.collect` that run in a forward pass, with the shapes of their outputs.

    Raises:
        UsageError: txray does not know how this type of model reads text.
        UnknownNameError: a name or pattern matches nothing.
        CaptureError: the whole model is TorchScript.
    """
    adapter = source_for(model, outputs=False)
    if isinstance(adapter, StoredAdapter):
        return _stored_shapes(adapter, patterns)
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
        tensors = runs.shapes(Reading(name, number=calls[-1].number))
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


def hook_points_for(adapter: Source, layers: Layers, selection: Selection) -> list[HookPoint]:
    """Return the hook points of layers; `selection` is that of the layers that have none of their own.

    Raises:
        UnknownNameError: unknown layer, layout or part of an output.
        UsageError: a layer occurs twice, or a call or an expert does not exist.
        CaptureError: a layer does not run, does not run equally often for every input, has no activations per
            position, has more steps than the input without a `lag`, or is TorchScript; or the neurons of experts
            cannot be computed from the weights of their module.
    """
    if isinstance(adapter, StoredAdapter):
        return adapter.hook_points(layers, selection)
    modules = modules_by_name(adapter.module)
    names = _names_of_layers(adapter.module, layers)
    watched = dict.fromkeys(name for matched in names.values() for name in matched)
    for name in watched:
        require_observable(modules, name, adapter.module)
    parts = dict.fromkeys(layer.output for layer in names if layer.output is not None)
    runs = DryRuns.of(adapter, watched, tuple(parts))
    require_readable_experts(adapter, modules, names)
    layer_of_tensor: dict[tuple[object, ...], Layer] = {}
    hook_points: list[HookPoint] = []
    for layer, matched in names.items():
        for single in single_layers(modules, layer, _distinct(adapter, runs, layer, matched)):
            hook_point = _hook_point_of(adapter, runs, single, selection)
            tap = hook_point.tap
            expert = None if tap.route is None else tap.route.expert
            through = None if hook_point.through is None else hook_point.through.module
            key = (
                modules[single.name],
                tap.number,
                tap.side,
                tap.part,
                hook_point.heads is not None,
                expert,
                through,
            )
            if key in layer_of_tensor:
                raise UsageError(
                    f"collect: layer {hook_point.layer!r} is selected twice, by {layer_of_tensor[key].label!r} and "
                    f"{layer.label!r}; select it once"
                )
            if any(hook_point.layer == other.layer for other in hook_points):
                raise UsageError(
                    f"collect: two modules of layer {hook_point.layer!r} have the same name; set an attribute "
                    "`name` on each of them"
                )
            layer_of_tensor[key] = layer
            hook_points.append(hook_point)
    return hook_points


def _distinct(adapter: ModelAdapter, runs: DryRuns, layer: Layer, names: Sequence[str]) -> Iterator[str]:
    """Yield the names of different calls, and those in experts, even if no position was routed there."""
    distinct = set(runs.first.distinct(names))
    for name in names:
        if name in distinct or module_expert(adapter, runs, name, layer.side) is not None:
            yield name


def warn_of_reading(hook_points: Iterable[HookPoint]) -> None:
    """Warn about calls that were not chosen and about random forward passes; collection warns by itself."""
    accounts = {point.layer: {**point.settings(), **point.observations()} for point in hook_points}
    for warning in layer_warnings(accounts):
        warn_user(warning)


def require_layers(adapter: Source, layers: Layers) -> None:
    """Raise, before a model runs, if a layer does not exist.

    Raises:
        UnknownNameError: a layer matches nothing.
        UsageError: an option of a layer occurs twice.
    """
    if isinstance(adapter, StoredAdapter):
        adapter.names_of_layers(layers)
    else:
        _names_of_layers(adapter.module, layers)


def _stored_shapes(adapter: StoredAdapter, patterns: str | Sequence[str]) -> list[LayerShape]:
    """Return the stored layers, as if they had been read from two documents of eleven positions."""
    names = matching_names(patterns, list(adapter.stored.layers))
    layers = [adapter.stored.layers[name] for name in names]
    return [
        LayerShape(
            layer.name,
            f"stored {layer.dtype}",
            (2, 11, layer.neurons),
            Layout("batch-time-neurons", layer.neurons, missing=int(layer.settings.get("missing", 0))),
        )
        for layer in layers
    ]


def _names_of_layers(module: nn.Module, layers: Layers) -> dict[Layer, list[str]]:
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


def _hook_point_of(adapter: ModelAdapter, runs: DryRuns, layer: Layer, selection: Selection) -> HookPoint:
    """Return the hook point of one module, or of one expert."""
    name = layer.name
    if layer.expert is None and layer.call is None and layer.output is None and layer.units != "head":
        expert = module_expert(adapter, runs, name, layer.side)
        if expert is not None:
            _require_no_module(layer)
            return hook_point_in_expert(adapter, runs, layer, selection, expert)
    stacked = layer.call is None and runs.one_call_per_position(name)
    call, calls = (0, 1) if stacked else _call(runs, layer)
    if layer.expert is not None:
        _require_no_module(layer)
        return hook_point_of_expert(adapter, runs, layer, selection, call, calls)
    label = replace(layer, call=None if layer.call is None else call).label
    number = None if stacked else runs.first.calls(name)[call].number
    reading = Reading(name, layer.side, layer.output, number)
    _require_part(runs, reading, label)
    tensors = runs.shapes(reading)
    verb = VERBS[layer.side]
    if tensors is None:
        raise CaptureError(f"layer {label!r}: {verb} no tensor; choose another layer")
    layout = layout_of(label, *tensors, layer.layout, verb)
    steps = {run.shape[layout.time_axis] for run in tensors}
    if layout.windows and len(steps) == 1 and not fills_windows(adapter, reading, layout, *steps):
        raise CaptureError(
            f"layer {label!r}: has {tensors[0].shape[layout.time_axis]} steps for every input that could be tried, so "
            "they need not be positions of the text; choose another layer"
        )
    if stacked and layer.layout == "auto" and not runs_in_text_order(adapter, reading):
        raise CaptureError(
            f"layer {label!r}: runs once per position, but not in the order of the text, or after a layer that reads "
            f"the whole text; if its calls are in order, pass txray.Layer({name!r}, layout={layout.axes!r})"
        )
    lag = adapter.lag(name) if layer.lag is None else layer.lag
    if layout.missing < 0 and lag is None:
        raise CaptureError(
            f"layer {label!r}: has {tensors[0].steps - layout.missing} steps for {tensors[0].steps} positions, so its "
            f"steps cannot be matched to words; pass txray.Layer({name!r}, lag=1), or TextModel(lags=...), if the "
            "model puts an extra step before the text (lag=0: after it), or use a forward= that adds none"
        )
    hook_point = HookPoint(
        layer=label,
        tap=Tap(
            label=label,
            layer=name,
            side=layer.side,
            number=number,
            calls=None if stacked else len(runs.first.all_calls(name)),
            copied=runs.changed(reading),
            part=layer.output,
            stacked=stacked,
        ),
        layout=layout,
        lag=lag or 0,
        pooling=adapter.pooling,
        selection=Selection.parse(layer.selection or selection),
        call=call,
        calls=calls,
        call_assumed=calls > 1 and layer.call is None,
        random=runs.random(reading),
        heads=_heads(adapter, layer, label, layout),
    )
    return hook_point if layer.through is None else _read_through(hook_point, layer, runs, reading)


def _require_no_module(layer: Layer) -> None:
    """Raise if the neurons of an expert are to be read through a module."""
    if layer.through is not None:
        raise UsageError(
            f"layer {layer.label!r}: the neurons of a single expert cannot be read through a module; omit through, or "
            "choose the layer that holds the experts"
        )


def _read_through(hook_point: HookPoint, layer: Layer, runs: DryRuns, reading: Reading) -> HookPoint:
    """Return a hook point whose activations are read through the module of its layer."""
    tensor = reading.tensor(runs.first)
    if layer.through is None or tensor is None:
        return hook_point
    size, _ = runs.shapes(reading) or (None, None)
    assert size is not None
    flat, _ = hook_point.flat(tensor, size.documents, size.steps)
    through = Through.of(hook_point.layer, module_for(layer.through, layer.name), flat)
    label = f"{hook_point.layer}{THROUGH}{through.name}"
    return replace(
        hook_point,
        layer=label,
        tap=replace(hook_point.tap, label=label),
        through=through,
        random=hook_point.random or through.random,
    )


def _require_part(runs: DryRuns, reading: Reading, label: str) -> None:
    """Raise if an output lacks the requested part in a dry run."""
    if reading.part is None:
        return
    for trace in (runs.first, runs.second):
        for call in trace.all_calls(reading.layer):
            if reading.number in (None, call.number) and call.parts.get(reading.part) is None:
                known = call.part_names
                if not known:
                    raise CaptureError(
                        f"layer {label!r}: returns no tuple, mapping or record with tensors, so it has no part "
                        f"{reading.part!r}; omit output"
                    )
                raise UnknownNameError.of(
                    f"part of the output of {reading.layer!r}", str(reading.part), known
                )


def _heads(adapter: ModelAdapter, layer: Layer, label: str, layout: Layout) -> int | None:
    """Return the number of heads if these are the units of the layer."""
    if layer.units != "head":
        return None
    modules = modules_by_name(adapter.module)
    heads = layer.heads or layout.heads or n_heads(modules, adapter.module, layer.name, layout.neurons)
    if heads is None:
        raise UsageError(
            f"layer {label!r}: the number of attention heads of its {layout.neurons} elements is unknown; pass "
            f"txray.Layer({layer.name!r}, heads=12), or '{layer.name}:heads=12'"
        )
    if layout.neurons % heads or layout.heads not in (None, heads):
        axis = (
            ""
            if layout.heads is None
            else f", {layout.heads} heads each of {layout.neurons // layout.heads},"
        )
        raise UsageError(
            f"layer {label!r}: its {layout.neurons} elements{axis} are not {heads} heads; pass another number"
        )
    return heads


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
