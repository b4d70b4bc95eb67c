"""`txray serve`: the dashboard."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from txray.cli import options


def serve(
    stages: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Stage folders, in the order of the story, or folders of such; a demo by default.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen at; any but this machine's own needs the token.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option("--port", "-p", help="8050, or the next free one, by default.", show_default=False),
    ] = None,
    pruning: Annotated[
        list[Path] | None,
        typer.Option(
            "--pruning", help="Folder of 'txray prune', told on the pages of neurons; may be repeated."
        ),
    ] = None,
    weight: options.Weight = "mean",
    fdr: options.Fdr = 0.05,
    permutations: options.Permutations = 10_000,
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache", help="Folder of results; the user's cache folder by default.", show_default=False
        ),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open it in the browser.")] = True,
) -> None:
    """Look at stages in a browser: overview, single neurons, features, any pair. Ctrl-C ends it."""
    from txray.preferences.discovery import stage_folders
    from txray.web.dashboard import serve as serve_stages
    from txray.web.dashboard.demo import demo_stages
    from txray.web.dashboard.server import interrupt_this_thread_alone

    folders = stage_folders(stages) if stages else demo_stages(log=lambda line: typer.echo(line, err=True))
    interrupt_this_thread_alone()
    dashboard = serve_stages(
        *folders,
        host=host,
        port=port,
        prunings=pruning or (),
        weight=weight,  # type: ignore[arg-type]  # checked there
        fdr=fdr,
        permutations=permutations,
        cache=cache,
        wait=False,
    )
    with suppress(KeyboardInterrupt), dashboard:
        typer.echo(dashboard.url)
        typer.echo("Ctrl-C ends it.", err=True)
        if browser:
            typer.launch(dashboard.url)
        dashboard.wait()
