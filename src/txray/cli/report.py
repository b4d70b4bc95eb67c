"""`txray report`: an HTML report on saved stages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from txray.cli import options


def report(
    stages: options.StageFolders,
    out: Annotated[Path, typer.Option("--out", "-o", help="File for the report.")] = Path("report.html"),
    title: Annotated[str, typer.Option("--title", help="Title of the report.")] = "What the neurons know",
    feature_type: options.Feature = "token",
    permutations: options.Permutations = 10_000,
) -> None:
    """Write a self-contained HTML report on two or more stages."""
    from txray.preferences import load_stage
    from txray.preferences.discovery import stage_folders
    from txray.web.report import report as write_report

    typer.echo(
        write_report(
            [load_stage(folder) for folder in stage_folders(stages)],
            out,
            title=title,
            feature_type=feature_type,
            permutations=permutations,
        )
    )
