"""`txray timeline`: what became of the neurons over several stages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from txray.cli import options


def timeline(
    stages: Annotated[
        list[Path],
        typer.Argument(help="Stage folders, in order, or folders of such; at least two.", show_default=False),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Writes stages, changes, flows and distances there, as Parquet and CSV."
        ),
    ] = None,
    feature_type: options.Feature = "token",
    layer: Annotated[
        list[str] | None,
        typer.Option("--layer", help="May be repeated; all that every stage has by default."),
    ] = None,
    weight: options.Weight = "mean",
    scores: options.Scores = None,
    fdr: options.Fdr = 0.05,
    permutations: options.Permutations = 10_000,
    seed: options.Seed = 0,
) -> None:
    """Follow neurons through stages: how far they move, how many change, come into use or fall out of it."""
    from txray.analysis import timeline as follow
    from txray.analysis.timelines import SUMMARY
    from txray.cli.tables import print_timeline
    from txray.files import require_replaceable
    from txray.preferences import Stage
    from txray.preferences.discovery import stage_folders

    if out is not None:
        require_replaceable(out, (SUMMARY,))
    found = follow(
        [Stage.load(folder) for folder in stage_folders(stages)],
        layers=layer,
        feature_type=feature_type,
        weight=weight,  # type: ignore[arg-type]  # the distributions check it
        scores=options.read_scores(scores),
        permutations=permutations,
        fdr=fdr,
        seed=seed,
    )
    print_timeline(found)
    if out is not None:
        found.save(out)
        typer.echo(f"tables in {out}")
