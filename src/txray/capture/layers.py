"""Which layers are looked into: patterns become sites, by two dry runs of the model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import nn

from txray.capture.hooks import capturing, device_of, evaluating, layer_names, matching_layers
from txray.capture.layout import Axes, DryRun, Layout, layout_of
from txray.capture.reading import Reader, reader_of
from txray.capture.selection import Selection
from txray.capture.site import Site
from txray.errors import CaptureError, UsageError, in_one_line
from txray.models.text_model import TextModel

_FIRST, _SECOND = (2, 11), (3, 17)
"""Documents and steps of the dry runs: two sizes that no axis can take for one another."""


@dataclass(frozen=True)
class Layer:
    """What is collected of a layer, or of all layers that a pattern means.

    Attributes:
        name: of the module, or a pattern, see `matching_layers`.
        layout: order of the axes of its output; found out by a dry run by default.
        shift: time steps by which its output lags behind the input; what the model says by default.
        selection: which activations count; that of the collection by default.
    """

    name: str
    layout: Axes = "auto"
    shift: int | None = None
    selection: Selection | str | None = None


@dataclass(frozen=True)
class LayerShape:
    """What a dry run tells of a layer.

    Attributes:
        name: of the module.
        kind: its class.
        shape: of its output for two documents of eleven positions, or fewer where the model reads no more.
        layout: how it is laid out; None where it has no activations per position.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    layout: Layout | None


def layer_shapes(model: nn.Module | TextModel, patterns: Sequence[str] = ("**",)) -> list[LayerShape]:
    """The layers that run when a model reads, with the shapes of their outputs.

    Args:
        model: a model of `txray.models`.
        patterns: names or patterns.

    Raises:
        UsageError: txray does not know how this kind of model reads.
        UnknownNameError: nothing is named so.
    """
    reader = reader_of(model, outputs=False)
    names = matching_layers(reader.module, patterns)
    modules = dict(reader.module.named_modules())
    first, second = _dry_runs(reader, names)
    shapes = []
    for name in names:
        if name in first and name in second:
            try:
                layout: Layout | None = layout_of(name, first[name], second[name])
            except CaptureError:
                layout = None
            shapes.append(LayerShape(name, type(modules[name]).__name__, first[name].shape, layout))
    return shapes


def sites_of(reader: Reader, layers: Iterable[Layer | str], selection: Selection) -> list[Site]:
    """One site per layer.

    Args:
        reader: of the model.
        layers: names, patterns, or more exactly what to collect.
        selection: of the layers that name none.

    Raises:
        UnknownNameError: no such layer or layout.
        UsageError: a layer twice.
        CaptureError: a layer that does not run, or has no activations per position.
    """
    asked: dict[str, Layer] = {}
    for each in layers:
        layer = Layer(each) if isinstance(each, str) else each
        for name in matching_layers(reader.module, [layer.name]):
            if name in asked:
                raise UsageError(
                    f"collect: layer {name!r} is meant twice, by {asked[name].name!r} and {layer.name!r}; "
                    "name each once"
                )
            asked[name] = layer
    first, second = _dry_runs(reader, list(asked))
    sites = []
    for name, layer in asked.items():
        if name not in first or name not in second:
            ran = list(_dry_runs(reader, layer_names(reader.module))[0])
            raise CaptureError(
                f"layer {name!r}: did not run in the forward pass, so it has no activations; those that ran: "
                f"{', '.join(ran[:20])}{', ...' if len(ran) > 20 else ''}"
            )
        chosen = layer.selection or selection
        sites.append(
            Site(
                layer=name,
                layout=layout_of(name, first[name], second[name], layer.layout),
                shift=reader.shift(name) if layer.shift is None else layer.shift,
                pooling=reader.pooling,
                selection=Selection.parse(chosen) if isinstance(chosen, str) else chosen,
                copied=first[name].changed or second[name].changed,
            )
        )
    return sites


def _dry_runs(reader: Reader, names: Sequence[str]) -> tuple[dict[str, DryRun], dict[str, DryRun]]:
    """What each layer that runs gives, for two inputs of different size."""
    with evaluating(reader.module, reader.autocast):
        steps, second = _dry_run(reader, names, *_SECOND)
        # As much shorter as it would be if the model could read the longer one whole.
        _, first = _dry_run(reader, names, _FIRST[0], max(1, steps - _SECOND[1] + _FIRST[1]))
    return first, second


def _dry_run(
    reader: Reader, names: Sequence[str], documents: int, steps: int
) -> tuple[int, dict[str, DryRun]]:
    """The steps that the model read, and what each layer that runs gave."""
    # Hooks that do not insist on a tensor: only what is collected must give one.
    with capturing(reader.module, names, strict=False) as captured:
        try:
            steps = reader.dry_run(documents, steps)
        except (RuntimeError, CaptureError) as error:
            if reader.autocast is None:
                raise
            raise UsageError(
                f"autocast={reader.settings['autocast']!r}: the model does not run in it on "
                f"{device_of(reader.module)} ({in_one_line(error, 120)}); choose another, or leave it out"
            ) from error
        runs = {}
        for name in captured.layers():
            changed, output = captured.take_changed(name)
            runs[name] = DryRun(documents, steps, tuple(output.shape), changed)
        return steps, runs
