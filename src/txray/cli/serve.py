"""`txray serve`: the dashboard."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from txray.cli import options
from txray.cli.option_groups import expand_option_groups


@expand_option_groups
def serve(
    stages: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Stage folders, in order, or folders that contain them; by default a demo.",
            show_default=False,
        ),
    ] = None,
    *,
    comparison_options: options.ComparisonOptions,
    pruning: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder written by 'txray prune', whose effects are shown on the neurons' pages; repeat for several."
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Folder for cached results; by default within your cache folder.", show_default=False
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; other machines need the token.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            "-p",
            help="Port to listen on; by default 8050, or the next free one.",
            show_default=False,
        ),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the dashboard in the browser.")] = True,
) -> None:
    """Explore stages in the browser: overview, single neurons, features, matched layers. Ctrl-C stops the server."""
    from txray.web.dashboard import serve as serve_stages
    from txray.web.dashboard.demo import demo_stages
    from txray.web.dashboard.server import interrupt_this_thread_alone

    folders = stages or demo_stages(log=lambda line: typer.echo(line, err=True))
    interrupt_this_thread_alone()
    dashboard = serve_stages(
        *folders,
        **vars(comparison_options),
        prunings=pruning or (),
        cache=cache,
        host=host,
        port=port,
        wait=False,
    )
    with suppress(KeyboardInterrupt), dashboard:
        typer.echo(dashboard.url)
        typer.echo("Press Ctrl-C to stop.", err=True)
        if browser:
            typer.launch(dashboard.url)
        dashboard.wait()
