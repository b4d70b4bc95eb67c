"""`txray report`: one HTML file from saved stages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from txray.cli import options


def report(
    stages: Annotated[
        list[Path],
        typer.Argument(
            help="Stage folders, in the order of the story, or folders of such.", show_default=False
        ),
    ],
    out: options.Out = Path("report.html"),
    title: Annotated[str, typer.Option("--title", help="Of the page.")] = "What the neurons know",
    feature_type: options.Feature = "token",
    permutations: options.Permutations = 10_000,
) -> None:
    """Write one self-contained HTML page about two or more stages."""
    from txray.preferences import Stage
    from txray.preferences.discovery import stage_folders
    from txray.web.report import report as write_report

    typer.echo(
        write_report(
            [Stage.load(folder) for folder in stage_folders(stages)],
            out,
            title=title,
            feature_type=feature_type,
            permutations=permutations,
        )
    )
