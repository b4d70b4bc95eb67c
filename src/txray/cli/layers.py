"""`txray layers`: what can be collected from a model."""

from __future__ import annotations

from typing import Annotated

import typer


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
            "no activation per position" if shape.layout is None else shape.layout.axes,
        )
        for shape in layer_shapes(load_model(model), pattern)
    ]
    print_table(pl.DataFrame(rows, schema=["layer", "kind", "output", "neurons", "layout"], orient="row"))
    typer.echo("output: of 2 documents of 11 positions, or fewer where the model reads no more at once")
