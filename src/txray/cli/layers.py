"""`txray layers`: layers of a model that can be collected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from txray.cli import options
from txray.text import plural

if TYPE_CHECKING:
    from torch import nn

    from txray.capture import LayerShape
    from txray.models import TextModel

_MAX_ALIASES = 2
"""Other names of a layer that are listed; further names are counted."""

_UNITS = {"attention heads": "head"}


def layers(
    model: options.Model,
    pattern: Annotated[
        list[str],
        typer.Argument(
            help="Names or patterns, such as encoder.layer.*.intermediate or **.mlp; all by default."
        ),
    ] = ["**"],  # noqa: B006
    base: options.Base = None,
) -> None:
    """List the layers that run in a forward pass, with the shapes of their outputs, from a dry run.

    Below the list: patterns for the MLP neurons, neurons of experts, attention heads, residual stream and embeddings
    of a transformer.
    """
    import polars as pl

    from txray.activations import StoredActivations
    from txray.capture import layer_shapes
    from txray.cli.tables import print_table

    loaded = options.open_source(model, base)
    rows = [
        (
            shape.name,
            shape.kind,
            " x ".join(map(str, shape.shape)),
            shape.neurons,
            _positions(shape),
            None if shape.experts is None else f"{shape.experts.number} x {shape.experts.neurons}",
            _calls(shape.calls, shape.aliases),
        )
        for shape in layer_shapes(loaded, pattern)
    ]
    columns = ["layer", "kind", "output", "neurons", "layout", "experts", "calls"]
    print_table(pl.DataFrame(rows, schema=columns, orient="row"))
    typer.echo("output: shape for 2 documents of 11 positions, or fewer if the model has a lower limit")
    if any(row[-2] for row in rows):
        typer.echo(
            "experts: number and neurons of each; --layer NAME:expert=0 collects the first, NAME:expert=* all"
        )
    if any(row[-1] for row in rows):
        typer.echo(
            "calls: runs per forward pass, and other names; --layer NAME:call=0 collects the first run"
        )
    if pattern == ["**"] and not isinstance(loaded, StoredActivations):
        for line in role_lines(loaded):
            typer.echo(line)


def role_lines(model: TextModel | nn.Module) -> list[str]:
    """Return one line per pattern of layers with a role: the role, the pattern to paste, and the number of units."""
    from txray.capture import layer_roles

    roles = layer_roles(model)
    width = max((len(role.pattern) for role in roles), default=0)
    return [
        f"{role.role:<17}{role.pattern:<{width}}  {plural(role.neurons, _UNITS.get(role.role, 'neuron'))} x "
        f"{plural(len(role.layers), 'layer')}"
        for role in roles
    ]


def _positions(shape: LayerShape) -> str:
    """Return for which positions a layer has activations, and in which order of axes."""
    if shape.routed:
        return "positions routed to the expert"
    return (
        "no activation per position"
        if shape.layout is None
        else _layout(shape.layout.axes, shape.layout.missing)
    )


def _layout(axes: str, missing: int) -> str:
    """Return the order of the axes, and the difference in time steps between output and input."""
    return f"{axes}, {-missing:+} step{'s' * (abs(missing) != 1)}" if missing else axes


def _calls(calls: int, aliases: tuple[str, ...]) -> str:
    """Return the runs of a layer per forward pass and its other names; empty for one run and no other name."""
    parts = [f"called {calls}x"] if calls > 1 else []
    if aliases:
        shown = ", ".join(aliases[:_MAX_ALIASES])
        parts.append(
            f"also {shown}" + (f", ... {len(aliases)} in all" if len(aliases) > _MAX_ALIASES else "")
        )
    return "; ".join(parts)
