"""Visdom: figures, curves and tables in the windows of a page that follows the training."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from txray._optional import import_extra
from txray.errors import OutputError, UsageError, in_one_line
from txray.plots.plotly_json import plain_figure
from txray.tracking.loggers.facts import facts_table, stage_facts
from txray.tracking.loggers.failures import cause, one_line
from txray.tracking.loggers.tables import html_table

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import polars as pl

_SECONDS = 5, 60
"""How long a server may take to be reached, and to answer."""


class VisdomLogger:
    """Logs to a server of Visdom, or to a file that can be replayed there; needs the extra `visdom`.

    Every name is one window: numbers become a line that grows, figures and tables show the latest step.

    Attributes:
        client: the `visdom.Visdom` that is logged by.
    """

    def __init__(self, client: Any = None, **options: Any) -> None:
        """Log by a client, or make one.

        Args:
            client: a `visdom.Visdom`. None: make one.
            options: of `visdom.Visdom`, for a client made here: `server`, `port`, `env`, `base_url`; without a
                server `offline=True` and `log_to_filename`.

        Raises:
            UsageError: visdom is missing, no server answers, or both a client and options are given.
        """
        visdom = import_extra("logging to Visdom needs", "visdom", "visdom")
        if client is not None and options:
            raise UsageError(
                f"VisdomLogger: both a client and options ({', '.join(options)}) are given; give them to visdom.Visdom"
            )
        self.client = client if client is not None else _connected(visdom, options)
        self._lines: set[str] = set()

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to the line of each number; what is not finite leaves a gap.

        Raises:
            OutputError: the server is gone.
        """
        import numpy as np

        for name, value in values.items():
            # Only nan becomes null on the way; an infinity would be no JSON, and empty the whole page.
            point = float(value) if math.isfinite(value) else math.nan
            # A file cannot be asked what there is; its first point must make the window.
            grows = name in self._lines or not self.client.offline
            self._lines.add(name)
            with self._sending():
                self._sent(
                    self.client.line(
                        X=np.array([step]),
                        Y=np.array([point]),
                        win=name,
                        update="append" if grows else None,
                        opts={"title": name, "xlabel": "step", "markers": True, "markersize": 5},
                    )
                )

    def figure(self, name: str, figure: go.Figure, step: int) -> None:
        """Show a figure, interactive, in place of the one before.

        Raises:
            OutputError: the server is gone.
        """
        plain = plain_figure(figure)
        _name_window(plain["layout"], name)
        # A figure of nothing is an error of the server.
        plain["data"] = plain["data"] or [{"type": "scatter", "x": [], "y": []}]
        with self._sending():
            self._sent(self.client.plotlyplot(plain, win=name))

    def table(self, name: str, table: pl.DataFrame, step: int) -> None:
        """Show the first 100 rows of a table, and how many there are, in place of the one before.

        Raises:
            OutputError: the server is gone.
        """
        with self._sending():
            self._sent(self.client.text(html_table(table), win=name, opts={"title": f"{name}, step {step}"}))

    def stage(self, folder: Path, step: int) -> None:
        """Tell where the latest stage folder is, and what it is of; the folder itself stays where it is.

        Raises:
            StageError: no complete stage folder.
            OutputError: the server is gone.
        """
        self.table("txray/stage", facts_table(stage_facts(folder)), step)

    def close(self) -> None:
        """Have the server save the windows.

        Raises:
            OutputError: the server is gone.
        """
        with self._sending():
            self._sent(self.client.save([self.client.env]))

    @contextmanager
    def _sending(self) -> Iterator[None]:
        with one_line(self._place, OSError):
            try:
                yield
            except ConnectionError as error:
                # The client's own, which names no reason.
                raise OSError(in_one_line(cause(error))) from error

    @property
    def _place(self) -> str:
        return f"visdom at {self.client.server}:{self.client.port}"

    def _sent(self, answer: Any) -> None:
        """Clients that do not raise answer with False, whatever went wrong."""
        if answer is False:
            raise OutputError(f"{self._place} did not take it; is it still running?")


def _connected(visdom: Any, options: dict[str, Any]) -> Any:
    class Client(visdom.Visdom):  # type: ignore[misc]
        """A client that waits for no server for ever, and takes no error of a server for an answer."""

        def _handle_post(self, url: str, data: Any = None) -> str:
            answer = self.session.post(url, data=data or {}, timeout=_SECONDS)
            answer.raise_for_status()
            return str(answer.text)

    # Nothing is received here, so no thread is needed that waits for it.
    wanted = {"use_incoming_socket": False, "raise_exceptions": True, **options}
    log = logging.getLogger(visdom.__name__)
    level = log.level
    # That there will be a session, and no incoming socket, is no news, let alone a warning.
    log.setLevel(logging.ERROR)
    try:
        return Client(**wanted)
    except OSError as error:
        where = f"{wanted.get('server', 'http://localhost')}:{wanted.get('port', 8097)}"
        raise UsageError(
            f"no visdom server answers at {where} ({in_one_line(cause(error))}); start one with 'visdom', name another "
            "by server= and port=, or write a file with offline=True, log_to_filename=..."
        ) from error
    except AssertionError as error:
        raise UsageError(f"VisdomLogger: {in_one_line(error)}") from error
    finally:
        log.setLevel(level)


def _name_window(layout: dict[str, Any], name: str) -> None:
    """Have the bar of a window show a name, and the figure its own title, in place.

    Visdom writes the figure's title into the bar, its markup too, and shows nothing of a figure whose title is no text.
    So the title becomes a note where it stood, and the name an invisible title.
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
