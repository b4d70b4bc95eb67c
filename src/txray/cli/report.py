"""`txray report`: one HTML file from saved stages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from txray.cli import options


def _report_path(path: Path) -> Path:
    """Return the path of the report; raise before any work if it is not an HTML file."""
    from txray.web.report.page import checked_report_path

    return checked_report_path(path)


def report(
    stages: Annotated[
        list[Path],
        typer.Argument(
            help="Stage folders, in the order of the story, or folders that contain stage folders.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The HTML file to write.", callback=_report_path)
    ] = Path("report.html"),
    title: Annotated[str, typer.Option("--title", help="Title of the page.")] = "What the neurons know",
    layers: Annotated[
        list[str] | None,
        typer.Option(
            "--layer", help="Name or pattern of a layer; repeat for several. All layers by default."
        ),
    ] = None,
    feature_type: options.Feature = "token",
    weight: options.Weight = "mean",
    fdr: options.Fdr = 0.05,
    permutations: options.Permutations = 10_000,
    seed: options.Seed = 0,
) -> None:
    """Write one self-contained HTML page about two or more stages."""
    from txray.preferences import load_stage
    from txray.preferences.discovery import stage_folders
    from txray.web.report import report as write_report

    typer.echo(
        write_report(
            [load_stage(folder) for folder in stage_folders(stages)],
            out,
            title=title,
            layer=layers,
            feature_type=feature_type,
            weight=weight,  # type: ignore[arg-type]  # checked there
            fdr=fdr,
            permutations=permutations,
            seed=seed,
        )
    )
