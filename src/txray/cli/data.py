"""`txray data`: public text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Public text to work on.", no_args_is_help=True)


@app.callback()
def _subject() -> None:
    pass


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="wikitext-2, imdb or ud-ewt.", show_default=False)],
    to: Annotated[
        Path | None, typer.Option("--to", help="Folder to put it in. Default: your cache folder.")
    ] = None,
    mirror: Annotated[
        str | None, typer.Option("--mirror", help="Download from this address instead; checksums still hold.")
    ] = None,
) -> None:
    """Download a data set and check it. Prints the path for --text."""
    from txray.corpus import fetch as fetch_data

    typer.echo(fetch_data(name, to, base_url=mirror))
