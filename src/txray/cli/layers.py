"""`txray layers`: what can be collected from a model."""

from __future__ import annotations

from typing import Annotated

import typer

_MOST_ALIASES = 2
"""Other names of a layer that are shown; further ones are counted."""


def layers(
    model: Annotated[
        str,
        typer.Argument(
            help="Snapshot folder, Hugging Face folder, or hf: and a name on its hub.", show_default=False
        ),
    ],
    pattern: Annotated[
        list[str],
        typer.Argument(help="Names or patterns: encoder.layer.*.intermediate, **.mlp; all by default."),
    ] = ["**"],  # noqa: B006
) -> None:
    """List the layers that run when a model reads, with the shapes of their outputs, from one dry run."""
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
        for shape in layer_shapes(load_model(model), pattern)
    ]
    columns = ["layer", "kind", "output", "neurons", "layout", "calls"]
    print_table(pl.DataFrame(rows, schema=columns, orient="row"))
    typer.echo("output: of 2 documents of 11 positions, or fewer where the model reads no more at once")
    if any(row[-1] for row in rows):
        typer.echo(
            "calls: of a layer that runs several times, or has several names; --layer NAME:call=0 takes the first"
        )


def _layout(axes: str, missing: int) -> str:
    """Return the order of the axes, and how many steps the output has more or fewer than the input."""
    return f"{axes}, {-missing:+} step{'s' * (abs(missing) != 1)}" if missing else axes


def _calls(calls: int, aliases: tuple[str, ...]) -> str:
    """Return how often a layer runs in a forward pass, and what else it is called; nothing where both are plain."""
    parts = [f"called {calls}x"] if calls > 1 else []
    if aliases:
        shown = ", ".join(aliases[:_MOST_ALIASES])
        parts.append(
            f"also {shown}" + (f", ... {len(aliases)} in all" if len(aliases) > _MOST_ALIASES else "")
        )
    return "; ".join(parts)
