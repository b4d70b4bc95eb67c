"""`txray merge`: one stage from the shards of a corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from txray.cli import options
from txray.errors import UsageError


def merge(
    stages: Annotated[
        list[Path],
        typer.Argument(
            help="Stage folders of different documents, or folders that contain them.", show_default=False
        ),
    ],
    out: options.Out,
    name: options.StageName = None,
) -> None:
    """Merge stages that were collected with the same settings over different documents, such as shards."""
    from txray.preferences import merge_folders
    from txray.preferences.discovery import stage_folders
    from txray.preferences.manifest import MANIFEST, read_manifest

    if (out / MANIFEST).exists():
        raise UsageError(f"{out}: already holds a stage; name another folder")
    manifest = read_manifest(merge_folders(stage_folders(stages), out, name or out.name))
    missing = manifest["corpus"].get("shards_missing", [])
    if missing:
        typer.echo(f"missing shards: {', '.join(missing)}")
    typer.echo(f"{manifest['words']:,} words; stage in {out}")
