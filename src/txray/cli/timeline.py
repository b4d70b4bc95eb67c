"""`txray timeline`: neurons over several stages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from txray.cli import options
from txray.cli.option_groups import expand_option_groups

Family = Annotated[
    Literal["step", "all"],
    typer.Option(
        "--family",
        help="Tests over which the false discovery rate is controlled: those of one layer and step, or those of all "
        "layers and steps together.",
    ),
]


@expand_option_groups
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
            help="Name or pattern of a layer; repeat for several. By default all layers that every stage has."
        ),
    ] = None,
    scores: options.Scores = None,
    family: Family = "step",
    *,
    comparison_options: options.ComparisonOptions,
) -> None:
    """Follow neurons through stages: how far they move, and how many change, come into use or go out of use."""
    from txray.analysis import Timeline
    from txray.analysis import timeline as follow
    from txray.cli.tables import print_timeline
    from txray.files import require_replaceable

    if out is not None:
        require_replaceable(out, (Timeline.SUMMARY_FILE,))
    result = follow(
        stages,
        layers=layer,
        feature_type=feature_type,
        scores=options.read_scores(scores),
        family=family,
        **vars(comparison_options),
    )
    print_timeline(result)
    if out is not None:
        result.save(out)
        typer.echo(f"tables in {out}")
