"""`txray layers`: layers of a model that can be collected."""

from __future__ import annotations

from typing import Annotated

import typer

from txray.cli import options

_MAX_ALIASES = 2
"""Other names of a layer that are listed; further names are counted."""


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
    """List the layers that run in a forward pass, with the shapes of their outputs, from a dry run."""
    import polars as pl

    from txray.capture import layer_shapes
    from txray.cli.tables import print_table
    from txray.models import load_model

    rows = [
        (
            shape.name,
            shape.kind,
            " x ".join(map(str, shape.shape)),
            None if shape.layout is None else shape.layout.neurons,
            "no activation per position"
            if shape.layout is None
            else _layout(shape.layout.axes, shape.layout.missing),
            _calls(shape.calls, shape.aliases),
        )
        for shape in layer_shapes(load_model(model, base=base), pattern)
    ]
    columns = ["layer", "kind", "output", "neurons", "layout", "calls"]
    print_table(pl.DataFrame(rows, schema=columns, orient="row"))
    typer.echo("output: shape for 2 documents of 11 positions, or fewer if the model has a lower limit")
    if any(row[-1] for row in rows):
        typer.echo(
            "calls: runs per forward pass, and other names; --layer NAME:call=0 collects the first run"
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
