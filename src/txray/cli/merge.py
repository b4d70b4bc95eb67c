"""`txray merge`: one stage of the shards of a corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from txray.cli import options
from txray.errors import UsageError


def merge(
    stages: Annotated[
        list[Path],
        typer.Argument(help="Stage folders of different documents, or folders of such.", show_default=False),
    ],
    out: options.Out,
    name: Annotated[
        str | None, typer.Option("--name", help="Of the stage; the name of --out by default.")
    ] = None,
) -> None:
    """Join stages that were collected in the same way over different documents, such as shards of a corpus."""
    from txray.preferences import merge_folders
    from txray.preferences.discovery import stage_folders
    from txray.preferences.manifest import MANIFEST, read_manifest

    if (out / MANIFEST).exists():
        raise UsageError(f"{out}: holds a stage already; name another folder")
    manifest = read_manifest(merge_folders(stage_folders(stages), out, name or out.name))
    missing = manifest["corpus"].get("shards_missing", [])
    if missing:
        typer.echo(f"without the shards {', '.join(missing)}")
    typer.echo(f"{manifest['words']:,} words; stage in {out}")
