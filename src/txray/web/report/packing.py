"""Contents of the page: compressed data blocks, figures as JSON, and the content security policy."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from txray.web.assets import read_asset, shared_script, shared_style

if TYPE_CHECKING:
    import plotly.graph_objects as go

_PACKAGE = "txray.web.report"
_SCRIPTS = ("records.js", "neurons.js", "explorer.js", "report.js")
"""Classes come before the code that uses them."""


def packed(text: str) -> str:
    """Return text as gzip in base64: small, and without any character that has a meaning in HTML."""
    # Without a time stamp, so that the same input gives the same bytes.
    return base64.b64encode(gzip.compress(text.encode("utf-8"), mtime=0)).decode("ascii")


def packed_json(values: Any) -> str:
    """Return plain JSON values, packed; all characters beyond ASCII are escaped, unpaired surrogates too."""
    return packed(json.dumps(values, separators=(",", ":"), ensure_ascii=True, allow_nan=False))


def figures_json(figures: Iterable[go.Figure]) -> str:
    """Return a JSON list of figures.

    WebGL scatters become SVG ones: a page can hold only some sixteen WebGL scenes, they print as blurred
    pixels, and plotly.js compiles them by `eval`, which the page forbids.
    """
    from plotly.io.json import to_json_plotly

    return "[" + ",".join(to_json_plotly(_as_svg(figure.to_plotly_json())) for figure in figures) + "]"


def _as_svg(figure: dict[str, Any]) -> dict[str, Any]:
    traces = [
        {**trace, "type": "scatter"} if trace.get("type") == "scattergl" else trace
        for trace in figure["data"]
    ]
    return {"data": traces, "layout": figure["layout"]}


def script() -> str:
    """Return all of the page's own JavaScript."""
    return "\n".join([shared_script(), *(read_asset(name, _PACKAGE) for name in _SCRIPTS)])


def style() -> str:
    """Return the style sheet of the page."""
    return f"{shared_style()}\n{read_asset('report.css', _PACKAGE)}"


def policy(*scripts: str) -> str:
    """Return the content security policy: only these scripts run, and nothing is fetched.

    Styles may be inline because plotly.js sets them; images may be data, for saving a figure as PNG.

    Args:
        scripts: JavaScript texts, exactly as they are in the page or inserted by it.
    """
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"
        for text in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
