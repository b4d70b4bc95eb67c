"""`txray persistence`: how long neurons remain themselves over stages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from txray.cli import options


def persistence(
    stages: options.StageFolders,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the tables stages and neurons.")
    ] = None,
    figure: options.OptionalFigureFile = None,
    feature_type: options.Feature = "token",
    layer: options.Layer = None,
    weight: options.Weight = "mean",
    min_wins: Annotated[
        int,
        typer.Option(
            help="Minimum number of selected activations per neuron; neurons with fewer are left out."
        ),
    ] = 20,
    false_match_rate: Annotated[
        float,
        typer.Option(help="Share of the neurons called themselves that may be due to chance, at each stage."),
    ] = 0.05,
    seed: options.Seed = 0,
) -> None:
    """Follow how long the neurons of the first stage remain themselves, and their half-life."""
    from txray.analysis import Persistence
    from txray.analysis import persistence as follow
    from txray.cli.tables import print_table
    from txray.files import require_replaceable
    from txray.plots import persistence as draw
    from txray.plots import save_figure

    if out is not None:
        require_replaceable(out, (Persistence.SUMMARY_FILE,))
    result = follow(
        stages,
        layer=layer,
        feature_type=feature_type,
        weight=weight,
        min_wins=min_wins,
        false_match_rate=false_match_rate,
        seed=seed,
    )
    print_table(
        result.stages.select(
            "stage", "itself", "displaced", "not_significant", "too_few_wins", "survival", "chance"
        )
    )
    typer.echo(result.sentence)
    if out is not None:
        typer.echo(f"tables in {result.save(out)}")
    if figure is not None:
        typer.echo(save_figure(draw(result), figure))
