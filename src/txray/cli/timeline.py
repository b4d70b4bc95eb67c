"""`txray timeline`: neurons over several stages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from txray.cli import options


def timeline(
    stages: options.StageFolders,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for the tables stages, changes, flows and distances."),
    ] = None,
    feature_type: options.Feature = "token",
    layer: Annotated[
        list[str] | None,
        typer.Option(
            "--layer", help="Layer; repeat for several. By default all layers that every stage has."
        ),
    ] = None,
    weight: options.Weight = "mean",
    scores: options.Scores = None,
    fdr: options.Fdr = 0.05,
    permutations: options.Permutations = 10_000,
    seed: options.Seed = 0,
) -> None:
    """Follow neurons through stages: how far they move, and how many change, come into use or go out of use."""
    from txray.analysis import Timeline
    from txray.analysis import timeline as follow
    from txray.cli.tables import print_timeline
    from txray.files import require_replaceable
    from txray.preferences import Stage
    from txray.preferences.discovery import stage_folders

    if out is not None:
        require_replaceable(out, (Timeline.SUMMARY_FILE,))
    result = follow(
        [Stage.load(folder) for folder in stage_folders(stages)],
        layers=layer,
        feature_type=feature_type,
        weight=weight,
        scores=options.read_scores(scores),
        permutations=permutations,
        fdr=fdr,
        seed=seed,
    )
    print_timeline(result)
    if out is not None:
        result.save(out)
        typer.echo(f"tables in {out}")
