"""Serving: which address, who may ask, how it ends."""

from __future__ import annotations

import logging
import secrets
import signal
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from txray.errors import ExposedWarning, TxrayError, UsageError
from txray.files import cache_folder
from txray.preferences import Stage
from txray.preferences.preferences import WEIGHTS, Weight
from txray.pruning import Pruning
from txray.web.dashboard.cache import Cache
from txray.web.dashboard.jobs.worker import JobPending
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.results import ComparisonConfig
from txray.web.dashboard.security import Guard, is_loopback
from txray.web.dashboard.stage_catalog import StageCatalog
from txray.web.dashboard.url_state import UrlState, completed

if TYPE_CHECKING:
    from waitress.server import BaseWSGIServer

PORT = 8050
"""Where the dashboard is looked for; a later port where it is taken."""
_TRIED = 50
_THREADS = 16


class Dashboard:
    """A dashboard that is being served.

    Attributes:
        url: to open in a browser; with the token, where there is one.
    """

    def __init__(
        self, server: BaseWSGIServer, desk: ResultStore, url: str, folders: Sequence[Any] = ()
    ) -> None:
        """Begin to answer.

        Args:
            server: that listens already.
            desk: to close in the end.
            url: to open.
            folders: temporary ones, to remove in the end.
        """
        self.url = url
        self._server, self._desk, self._folders = server, desk, folders
        self._closed = False
        self._thread = threading.Thread(target=server.run, name="txray: dashboard", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Serve until interrupted, then close."""
        try:
            while self._thread.is_alive():
                self._thread.join(timeout=0.5)
        except KeyboardInterrupt:
            pass
        finally:
            self.close()

    def close(self) -> None:
        """Stop serving, and end the processes that work for it."""
        if not self._closed:
            self._closed = True
            # In the thread that waits for its sockets: closed by another, they would end it with an error.
            self._server.trigger.pull_trigger(self._server.close)
        self._desk.close()
        self._server.task_dispatcher.shutdown(timeout=1)
        # Browsers keep their connections: without an end they would wait for answers for ever.
        for channel in list(self._server.active_channels.values()):
            with suppress(OSError):
                channel.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(timeout=5)
        for folder in self._folders:
            folder.cleanup()

    def __enter__(self) -> Dashboard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Dashboard({self.url!r})"

    def _repr_html_(self) -> str:
        """The dashboard itself, in a notebook."""
        from html import escape

        address = escape(self.url, quote=True)
        return (
            f'<iframe src="{address}" title="txray dashboard" style="width:100%;height:820px;border:0"></iframe>'
            f'<p><a href="{address}" target="_blank" rel="noopener">open in a tab</a></p>'
        )


def serve(
    *stages: Stage | Path | str,
    host: str = "127.0.0.1",
    port: int | None = None,
    weight: Weight = "mean",
    level: float = 0.05,
    permutations: int = 10_000,
    prunings: Sequence[Pruning | Path | str] = (),
    cache: Path | str | None = None,
    wait: bool | None = None,
) -> Dashboard:
    """Serve the dashboard over some stages.

    It can be reached from this machine only, unless another host is asked for; then every address needs a token, and
    a warning says so. Stages are read when somebody looks; what takes long is done by processes of its own, kept in
    the cache, and shown as it comes.

    Args:
        stages: folders, or stages; in the order of the story, each of its own name.
        host: address to listen at.
        port: to listen at; 8050, or a later one where that is taken.
        weight: what preference distributions normalise.
        level: false-discovery rate at which a change is called one.
        permutations: of a neuron at most, in tests; 0 leaves them out.
        prunings: or folders of `txray prune`, whose effects are told on the page of a neuron.
        cache: folder of results; the user's cache folder by default.
        wait: whether to serve until interrupted; by default, unless this is a notebook.

    Returns:
        The dashboard: in a notebook it shows itself; its `close` ends it.

    Raises:
        UsageError: no stage, two of one name, a port that is taken, or an unknown weight.
        StageError: a folder that holds no stage.

    Warns:
        ExposedWarning: other machines can reach it.
    """
    if weight not in WEIGHTS:
        raise UsageError(f"dashboard: weight {weight!r}; it must be one of {', '.join(WEIGHTS)}")
    if not 0 < level < 1 or permutations < 0:
        raise UsageError(
            f"dashboard: level={level}, permutations={permutations}; level must lie between 0 and 1, permutations "
            "not be negative"
        )
    folders, temporary = _folders(stages)
    library = StageCatalog(folders)
    read = [each if isinstance(each, Pruning) else Pruning.load(each) for each in prunings]
    place = Cache(Path(cache) if cache is not None else cache_folder() / "dashboard")
    place.tidy()
    desk = ResultStore(library, place, ComparisonConfig(weight, level, permutations))
    host = host.strip("[]")
    token = None if is_loopback(host) else secrets.token_urlsafe(24)

    from txray.web.dashboard.app import build

    server = _listening(build(desk, Guard(token), read).server, host, port)
    shown = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host
    name = f"[{shown}]" if ":" in shown else shown
    url = f"http://{name}:{server.effective_port}/" + (f"?token={token}" if token else "")
    if token:
        warnings.warn(
            f"dashboard at {host}: other machines can reach it, over an unencrypted line; who knows the token can read "
            "all stages. Leave --host out and forward the port by ssh to keep it to yourself",
            ExposedWarning,
            stacklevel=2,
        )
    dashboard = Dashboard(server, desk, url, temporary)
    waits = wait if wait is not None else not _in_notebook()
    if waits:
        interrupt_this_thread_alone()
    threading.Thread(target=_warm, args=(desk,), name="txray: first view", daemon=True).start()
    if waits:
        from rich.console import Console

        told = f"txray dashboard: {url} (Ctrl-C ends it)"
        Console(stderr=True, soft_wrap=True).print(told, markup=False, highlight=False)
        dashboard.wait()
    return dashboard


def interrupt_this_thread_alone() -> None:
    """Let Ctrl-C be for the main thread: polars, by its own handler, ends the queries of all threads with errors."""
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _warm(desk: ResultStore) -> None:
    """Read, or have made, what is looked at first, while the browser still opens."""
    from txray.web.dashboard.control_state import facts

    view, _ = completed(UrlState(), desk.library.names, desk.library.feature_types)
    with suppress(JobPending, TxrayError):
        facts(view, desk, [])
        for stage in desk.library:
            if view.feature in stage.feature_types:
                desk.digest(stage, view.feature)
                stage.vocabulary(view.feature)


def _folders(
    stages: Sequence[Stage | Path | str],
) -> tuple[list[Path], list[tempfile.TemporaryDirectory[str]]]:
    """Where the stages lie; those that lie nowhere are written to a temporary folder."""
    folders: list[Path] = []
    temporary: list[tempfile.TemporaryDirectory[str]] = []
    for stage in stages:
        if isinstance(stage, Stage):
            temporary.append(tempfile.TemporaryDirectory(prefix="txray-stage-"))
            folders.append(stage.save(Path(temporary[-1].name) / "stage"))
        else:
            folders.append(Path(stage))
    return folders, temporary


def _listening(application: Any, host: str, port: int | None) -> BaseWSGIServer:
    """A server at the port, or, where none is asked for, at the first free one."""
    from waitress import create_server

    # A browser asks for all pictures of a page at once; that they wait for one another is no news.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)

    for number in [port] if port is not None else range(PORT, PORT + _TRIED):
        try:
            # Not waitress's own way, which leaves half a server behind where the port is taken.
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = socket.socket(family)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((host, number))
            except BaseException:
                listener.close()
                raise
            return create_server(application, sockets=[listener], threads=_THREADS, ident="txray")
        except OSError as error:
            # A host that cannot be found has no other port, either.
            if port is not None or isinstance(error, socket.gaierror):
                raise UsageError(
                    f"dashboard: cannot listen at {host}, port {number} ({error.strerror or error}); name another "
                    "--port or --host"
                ) from error
        except OverflowError as error:
            raise UsageError(f"dashboard: port {port}; it must lie between 0 and 65535") from error
    raise UsageError(
        f"dashboard: cannot listen at {host}, ports {PORT} to {PORT + _TRIED - 1}; name another --port or --host"
    )


def _in_notebook() -> bool:
    """Whether this runs in a Jupyter kernel, where blocking would block the notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"
