"""JavaScript and CSS of the pages: shared files in `web/static`, those of one page in the folder `static` beside it."""

from __future__ import annotations

from importlib import resources

from txray.plots.theme import STATE_COLORS

_SHARED_SCRIPTS = ("dom.js", "table.js", "detail.js")


def read_asset(name: str, package: str = "txray.web") -> str:
    """Return a text file of the folder `static` of a package."""
    return resources.files(package).joinpath("static", name).read_text(encoding="utf-8")


def shared_script() -> str:
    """Return the JavaScript that every page begins with: strict mode, then the DOM helpers, the table, the details."""
    return "\n".join(['"use strict";', *map(read_asset, _SHARED_SCRIPTS)])


def shared_style() -> str:
    """Return the style sheet that every page begins with: the colours of the states, then the shared rules."""
    colors = " ".join(f"--{state}: {color};" for state, color in STATE_COLORS.items())
    return f":root {{ {colors} }}\n{read_asset('shared.css')}"
