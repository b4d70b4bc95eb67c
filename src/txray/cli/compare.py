"""`txray compare`: what changed between two stages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from txray.cli import options


def compare(
    before: options.StageFolder,
    after: options.StageFolder,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Writes neurons.parquet, neurons.csv and summary.json there."),
    ] = None,
    feature: options.Feature = "token",
    layer: options.Layer = None,
    weight: Annotated[str, typer.Option("--weight", help="mean (the paper), mass or count.")] = "mean",
) -> None:
    """Compare two stages neuron by neuron: states, lengths, masses, distances."""
    import polars as pl

    from txray.cli.tables import print_table
    from txray.preferences import load_stage
    from txray.transfer import compare as compare_stages

    comparison = compare_stages(
        load_stage(before),
        load_stage(after),
        feature=feature,
        layer=layer,
        weight=weight,  # type: ignore[arg-type]  # the distributions check it
    )
    rows = [
        (name, f"{value:.6g}" if isinstance(value, float) else str(value))
        for name, value in comparison.summary.items()
        if value is not None
    ]
    print_table(pl.DataFrame(rows, schema=["quantity", "value"], orient="row"))
    if out is not None:
        comparison.save(out)
        typer.echo(f"table and summary in {out}")
