"""`txray data`: public data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(help="Download public data sets.", no_args_is_help=True)


@app.callback()
def _subject() -> None:
    pass


@app.command()
def fetch(
    name: Annotated[
        Literal["wikitext-2", "imdb", "ud-ewt"],
        typer.Argument(help="Name of the data set.", show_default=False),
    ],
    to: Annotated[
        Path | None, typer.Option(help="Folder for the data; your cache folder by default.")
    ] = None,
    mirror: Annotated[
        str | None, typer.Option(help="Address to download from instead; checksums are still verified.")
    ] = None,
) -> None:
    """Download a data set, verify it, and print the path for --text."""
    from txray.corpus import fetch as fetch_data

    typer.echo(fetch_data(name, to, base_url=mirror))
