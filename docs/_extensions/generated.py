"""Parts of pages that are generated from the code at build time, so that they cannot be out of date.

A page marks the position of a part by `<!-- generated: NAME -->`.
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
    """Return the page with its generated parts."""
    return _MARK.sub(lambda mark: PARTS[mark["name"]](), page)


def commands() -> str:
    """Return the documentation of every command by typer, without its title."""
    page = subprocess.run(
        [sys.executable, "-m", "typer", "txray.cli.main", "utils", "docs", "--name", "txray"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    # Typer lists the commands of a group with truncated texts; the full texts follow.
    page = re.sub(r"\*\*Commands\*\*:\n\n(\* .*\n)+", "", page)
    return page.partition("\n")[2]


def presets() -> str:
    """Return the table of the presets of the experiment, one column each."""
    from txray.experiment import PRESETS, Settings

    names = [field.name for field in fields(Settings) if field.name != "preset"]
    rows = [
        ["setting", *PRESETS],
        ["---", *("---:" for _ in PRESETS)],
        *(
            [f"`{name}`", *(_shown(getattr(settings, name)) for settings in PRESETS.values())]
            for name in names
        ),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _shown(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else str(value)


PARTS: Mapping[str, Callable[[], str]] = {"commands": commands, "presets": presets}
