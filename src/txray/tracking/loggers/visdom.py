"""Visdom: figures, curves and tables in windows of a live page."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from txray._optional import import_extra
from txray.errors import OutputError, UsageError, in_one_line
from txray.plots.plotly_json import plain_figure
from txray.tracking.loggers.facts import facts_table, stage_facts
from txray.tracking.loggers.failures import root_cause, wrap_errors
from txray.tracking.loggers.tables import html_table

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import polars as pl

_SECONDS = 5, 60
"""Timeouts of connecting to a server, and of its answer."""


class VisdomLogger:
    """Logs to a server of Visdom, or to a file that can be replayed there; needs the extra `visdom`.

    Each name is a window: numbers become a growing line, figures and tables show the latest step. Methods raise an
    `OutputError` if the server does not respond.

    Attributes:
        client: the `visdom.Visdom` client.
    """

    def __init__(self, client: Any = None, **options: Any) -> None:
        """Log through a given client, or create one.

        Args:
            client: a `visdom.Visdom`. None: create one.
            options: options of `visdom.Visdom`, for a new client: `server`, `port`, `env`, `base_url`; without a
                server `offline=True` and `log_to_filename`.

        Raises:
            UsageError: visdom is missing, no server answers, or both a client and options are given.
        """
        visdom = import_extra("logging to Visdom needs", "visdom", "visdom")
        if client is not None and options:
            raise UsageError(
                f"VisdomLogger: both a client and options ({', '.join(options)}) are given; pass them to visdom.Visdom"
            )
        self.client = client if client is not None else _connected(visdom, options)
        self._lines: set[str] = set()

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to the line of each number; numbers that are not finite leave a gap."""
        import numpy as np

        for name, value in values.items():
            # Only NaN is sent as null; an infinity would be invalid JSON and empty the whole page.
            point = float(value) if math.isfinite(value) else math.nan
            # A file cannot be queried; its first point must create the window.
            append = name in self._lines or not self.client.offline
            self._lines.add(name)
            self._send(
                "line",
                X=np.array([step]),
                Y=np.array([point]),
                win=name,
                update="append" if append else None,
                opts={"title": name, "xlabel": "step", "markers": True, "markersize": 5},
            )

    def figure(self, name: str, figure: go.Figure, step: int) -> None:
        """Show an interactive figure, which replaces the one before."""
        plain = plain_figure(figure)
        _name_window(plain["layout"], name)
        # The server rejects a figure without traces.
        plain["data"] = plain["data"] or [{"type": "scatter", "x": [], "y": []}]
        self._send("plotlyplot", plain, win=name)

    def table(self, name: str, table: pl.DataFrame, step: int) -> None:
        """Show the first 100 rows of a table and their total, which replace the table before."""
        self._send("text", html_table(table), win=name, opts={"title": f"{name}, step {step}"})

    def stage(self, folder: Path, step: int) -> None:
        """Show the path and key facts of the latest stage folder; the folder is not copied."""
        self.table("txray/stage", facts_table(stage_facts(folder)), step)

    def close(self) -> None:
        """Ask the server to save the windows."""
        self._send("save", [self.client.env])

    def _send(self, method: str, *arguments: Any, **options: Any) -> None:
        """Call a method of the client.

        Raises:
            OutputError: the server does not respond, or does not accept the data.
        """
        server = f"visdom at {self.client.server}:{self.client.port}"
        with wrap_errors(server, OSError):
            try:
                answer = getattr(self.client, method)(*arguments, **options)
            except ConnectionError as error:
                # The client's own error does not give the reason.
                raise OSError(in_one_line(root_cause(error))) from error
        if answer is False:  # from clients that do not raise
            raise OutputError(f"{server} did not accept the data; is it still running?")


def _connected(visdom: Any, options: dict[str, Any]) -> Any:
    class Client(visdom.Visdom):  # type: ignore[misc]
        """A client with timeouts, which raises HTTP errors."""

        def _handle_post(self, url: str, data: Any = None) -> str:
            answer = self.session.post(url, data=data or {}, timeout=_SECONDS)
            answer.raise_for_status()
            return str(answer.text)

    # Nothing is received, so no thread needs to wait for messages.
    settings = {"use_incoming_socket": False, "raise_exceptions": True, **options}
    log = logging.getLogger(visdom.__name__)
    level = log.level
    # Hide the client's warnings that it opens a session and no incoming socket.
    log.setLevel(logging.ERROR)
    try:
        return Client(**settings)
    except OSError as error:
        url = f"{settings.get('server', 'http://localhost')}:{settings.get('port', 8097)}"
        raise UsageError(
            f"no visdom server answers at {url} ({in_one_line(root_cause(error))}); start one with 'visdom', name "
            "another by server= and port=, or write a file with offline=True, log_to_filename=..."
        ) from error
    except AssertionError as error:
        raise UsageError(f"VisdomLogger: {in_one_line(error)}") from error
    finally:
        log.setLevel(level)


def _name_window(layout: dict[str, Any], name: str) -> None:
    """Show a name in the title bar of a window, and the title of the figure within the figure.

    Visdom puts the title of a figure, markup included, into the title bar, and shows no figure without a string as
    title. So the title becomes an annotation at its position, and the name an invisible title.
    """
    title = layout.get("title", {})
    layout["title"] = {"text": name, "font": {"size": 1, "color": "rgba(0, 0, 0, 0)"}}
    if title.get("text"):
        margin, edge = layout.get("margin", {}), title.get("pad", {}).get("l", 0)
        layout.setdefault("annotations", []).append(
            {
                "text": title["text"],
                "font": title.get("font", {}),
                "showarrow": False,
                "align": "left",
                "xref": "paper",
                "yref": "paper",
                "x": 0,
                "y": 1,
                "xanchor": "left",
                "yanchor": "top",
                "xshift": edge - margin.get("l", 0),
                "yshift": margin.get("t", 0) - edge,
            }
        )
