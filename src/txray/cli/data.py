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
        Path | None, typer.Option("--to", help="Folder; a cache folder of the user by default.")
    ] = None,
    mirror: Annotated[
        str | None, typer.Option("--mirror", help="Fetch from this address instead; checksums still hold.")
    ] = None,
) -> None:
    """Download a data set, check it, and unpack it; an interrupted download goes on where it stopped."""
    from txray.corpus import fetch as fetch_data

    typer.echo(fetch_data(name, to, base_url=mirror))
