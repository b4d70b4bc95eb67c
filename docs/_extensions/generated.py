"""Parts of pages that are written from the code at build time, so that they cannot be out of date.

A page holds `<!-- generated: NAME -->` where the part belongs.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields

from sphinx.application import Sphinx

_MARK = re.compile(r"<!-- generated: (?P<name>[a-z]+) -->")


def setup(app: Sphinx) -> dict[str, bool]:
    """Fill in the marked parts of every page."""
    app.connect("source-read", lambda app, page, source: source.__setitem__(0, filled(source[0])))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def filled(page: str) -> str:
    """The page with its generated parts."""
    return _MARK.sub(lambda mark: PARTS[mark["name"]](), page)


def commands() -> str:
    """Every command with its arguments and options, as typer tells them; the page's title is left out."""
    told = subprocess.run(
        [sys.executable, "-m", "typer", "txray.cli.main", "utils", "docs", "--name", "txray"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    # Typer lists the commands of a group with their texts cut off; the full ones follow anyway.
    told = re.sub(r"\*\*Commands\*\*:\n\n(\* .*\n)+", "", told)
    return told.partition("\n")[2]


def presets() -> str:
    """The sizes of the experiment's presets, one column each."""
    from txray.experiment import PRESETS, Settings

    names = [field.name for field in fields(Settings) if field.name != "preset"]
    rows = [
        ["setting", *PRESETS],
        ["---", *("---:" for _ in PRESETS)],
        *([f"`{name}`", *(_shown(getattr(one, name)) for one in PRESETS.values())] for name in names),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _shown(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else str(value)


PARTS: Mapping[str, Callable[[], str]] = {"commands": commands, "presets": presets}
