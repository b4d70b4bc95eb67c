"""`txray timeline`: what became of the neurons over several stages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from txray.cli import options


def timeline(
    stages: Annotated[
        list[Path], typer.Argument(help="Stage folders, in order; at least two.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Writes stages, changes, flows and distances there, as Parquet and CSV."
        ),
    ] = None,
    feature: options.Feature = "token",
    layer: Annotated[
        list[str] | None,
        typer.Option("--layer", help="May be repeated; all that every stage has by default."),
    ] = None,
    weight: options.Weight = "mean",
    scores: options.Scores = None,
    level: options.Level = 0.05,
    permutations: options.Permutations = 10_000,
    seed: options.Seed = 0,
) -> None:
    """Follow neurons through stages: how far they move, how many change, come into use or fall out of it."""
    from txray.cli.tables import print_table
    from txray.files import require_replaceable
    from txray.preferences import load_stage
    from txray.transfer import timeline as follow
    from txray.transfer.timelines import SUMMARY

    if out is not None:
        require_replaceable(out, (SUMMARY,))
    found = follow(
        [load_stage(folder) for folder in stages],
        feature,
        layer,
        weight=weight,  # type: ignore[arg-type]  # the distributions check it
        scores=options.read_scores(scores),
        permutations=permutations,
        level=level,
        seed=seed,
    )
    told = found.stages.select(
        "layer", "stage", "preferred", "length", "mass_gini", "half_mass", *found.scores
    )
    print_table(told)
    steps = found.changes.filter(found.changes["reference"] == "previous")
    columns = ("layer", "before", "after", "shared", "hellinger", "hellinger_sq_cv", "tested", "changed")
    print_table(steps.select(*columns, "confident_avoided", "confident_gained"))
    for name in found.steps:
        for score in found.scores:
            given = found.correlation(score, name)
            if given.rho is not None and given.p_value is not None:
                typer.echo(
                    f"layer {name}: rank correlation of change with change of {score} {given.rho:.2f} "
                    f"(p = {given.p_value:.2g}), {given.without_trend}"
                )
    if out is not None:
        found.save(out)
        typer.echo(f"tables in {out}")
