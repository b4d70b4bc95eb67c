"""`txray report`: an HTML report on saved stages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from txray.cli import options
from txray.cli.option_groups import expand_option_groups
from txray.cli.timeline import Family


def _report_path(path: Path) -> Path:
    """Return the path of the report; raise before any work if it is not an HTML file."""
    from txray.web.report.page import checked_report_path

    return checked_report_path(path)


@expand_option_groups
def report(
    stages: options.StageFolders,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="HTML file for the report.", callback=_report_path)
    ] = Path("report.html"),
    title: Annotated[str, typer.Option(help="Title of the report.")] = "What the neurons know",
    layer: Annotated[
        list[str] | None,
        typer.Option(help="Name or pattern of a layer; repeat for several. All layers by default."),
    ] = None,
    feature_type: options.Feature = "token",
    family: Family = "step",
    *,
    comparison_options: options.ComparisonOptions,
) -> None:
    """Write a self-contained HTML report on two or more stages."""
    from txray.web.report import report as write_report

    typer.echo(
        write_report(
            stages,
            out,
            title=title,
            layer=layer,
            feature_type=feature_type,
            family=family,
            **vars(comparison_options),
        )
    )
