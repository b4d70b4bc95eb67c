"""Start and stop the server of the dashboard."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from txray.checks import is_number
from txray.errors import ExposedWarning, TxrayError, UsageError, warn_user
from txray.files import cache_folder
from txray.preferences import StageFolder, StageLike, as_stage
from txray.preferences.discovery import stage_folders
from txray.preferences.preferences import WEIGHTS, Weight
from txray.pruning import Pruning
from txray.web.dashboard.cache import Cache
from txray.web.dashboard.jobs.queue import JobPending
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.results import ComparisonConfig
from txray.web.dashboard.security import Guard, is_loopback
from txray.web.dashboard.stage_catalog import StageCatalog
from txray.web.dashboard.url_state import UrlState, with_defaults

if TYPE_CHECKING:
    from waitress.server import BaseWSGIServer

PORT = 8050
"""First port that is tried by default."""
_N_PORTS, _N_THREADS = 50, 16


class Dashboard:
    """A running dashboard.

    Attributes:
        url: to open in a browser, including the token if there is one.
    """

    def __init__(
        self, server: BaseWSGIServer, store: ResultStore, url: str, folders: Sequence[Any] = ()
    ) -> None:
        """Serve with a server that listens already; at the end, close the store and remove temporary folders."""
        self.url = url
        self._server, self._store, self._folders = server, store, folders
        self._closed = False
        self._thread = threading.Thread(target=server.run, name="txray: dashboard", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Block until interrupted, then close."""
        try:
            while self._thread.is_alive():
                self._thread.join(timeout=0.5)
        except KeyboardInterrupt:
            pass
        finally:
            self.close()

    def close(self) -> None:
        """Stop the server and its background workers."""
        if not self._closed:
            self._closed = True
            # Closed by its own thread; closed by another one, it would end with an error. If that thread wakes up
            # for a response first, it is closed before it is woken here.
            with suppress(OSError):
                self._server.trigger.pull_trigger(self._server.close)
        self._store.close()
        self._server.task_dispatcher.shutdown(timeout=1)
        # Browsers keep connections open, and would wait for responses forever.
        for channel in list(self._server.active_channels.values()):
            with suppress(OSError):
                channel.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(timeout=5)
        for folder in self._folders:
            folder.cleanup()

    def __enter__(self) -> Dashboard:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Dashboard({self.url!r})"

    def _repr_html_(self) -> str:
        """Return a frame that shows the dashboard in a notebook."""
        from html import escape

        url = escape(self.url, quote=True)
        return (
            f'<iframe src="{url}" title="txray dashboard" style="width:100%;height:820px;border:0"></iframe>'
            f'<p><a href="{url}" target="_blank" rel="noopener">open in a tab</a></p>'
        )


def serve(
    *stages: StageLike,
    weight: Weight = "mean",
    permutations: int = 10_000,
    fdr: float = 0.05,
    seed: int = 0,
    min_effect: float = 0.0,
    prunings: Sequence[Pruning | Path | str] = (),
    cache: Path | str | None = None,
    host: str = "127.0.0.1",
    port: int | None = None,
    wait: bool | None = None,
) -> Dashboard:
    """Serve the dashboard for some stages.

    Only this machine can connect, unless another host is given; then every URL needs a token, and a warning says so.
    Stages are read when a page needs them. Slow results are computed in background processes, cached on disk, and shown
    as they are ready.

    Args:
        stages: stages, their folders (open or paths), or paths of folders of stages, in order; with distinct names.
        weight: which weight preference distributions normalise.
        permutations: maximum number of permutations per neuron; 0 disables the tests.
        fdr: false discovery rate at which a change counts as significant.
        seed: of the permutations.
        min_effect: corrected Hellinger distance that a change must exceed to count as significant.
        prunings: or folders of `txray prune`, whose effects are shown on the pages of neurons.
        cache: folder of results; by default in the user's cache folder.
        host: address to listen at.
        port: to listen at; by default 8050, or the next free port.
        wait: whether to serve until interrupted; by default, unless this is a notebook.

    Returns:
        The dashboard. In a notebook it shows itself; its `close` stops it.

    Raises:
        UsageError: no stage, two stages of one name, a port in use, or an option out of range.
        StageError: a folder that is not a stage.

    Warns:
        ExposedWarning: other machines can connect.

    Examples:
        >>> dashboard = txray.serve("stages/unsup", "stages/zero-shot", wait=False)  # doctest: +SKIP
        >>> dashboard.url  # doctest: +SKIP
        'http://127.0.0.1:8050/'
    """
    if weight not in WEIGHTS:
        raise UsageError(f"dashboard: weight {weight!r}; it must be one of {', '.join(WEIGHTS)}")
    if not 0 < fdr < 1 or permutations < 0:
        raise UsageError(
            f"dashboard: fdr={fdr}, permutations={permutations}; fdr must lie between 0 and 1, permutations must not "
            "be negative"
        )
    if not is_number(min_effect) or not 0 <= min_effect < 1:
        raise UsageError(f"dashboard: min_effect={min_effect}; pass a distance from 0, below 1, such as 0.2")
    folders, temporary = _folders(stages)
    catalog = StageCatalog(folders)
    loaded = [pruning if isinstance(pruning, Pruning) else Pruning.load(pruning) for pruning in prunings]
    results = Cache(Path(cache) if cache is not None else cache_folder() / "dashboard")
    results.tidy()
    store = ResultStore(catalog, results, ComparisonConfig(weight, fdr, permutations, seed, min_effect))
    host = host.strip("[]")
    token = None if is_loopback(host) else secrets.token_urlsafe(24)

    from txray.web.dashboard.app import build

    server = _listening(build(store, Guard(token), loaded).server, host, port)
    reachable = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host
    name = f"[{reachable}]" if ":" in reachable else reachable
    url = f"http://{name}:{server.effective_port}/" + (f"?token={token}" if token else "")
    if token:
        warn_user(
            f"dashboard at {host}: other machines can connect, unencrypted, and everybody who knows the token can read "
            "all stages. Omit --host and forward the port by ssh to keep it private",
            ExposedWarning,
        )
    dashboard = Dashboard(server, store, url, temporary)
    waits = wait if wait is not None else not _in_notebook()
    if waits:
        interrupt_this_thread_alone()
    threading.Thread(target=_prepare, args=(store,), name="txray: first view", daemon=True).start()
    if waits:
        from rich.console import Console

        line = f"txray dashboard: {url} (press Ctrl-C to stop)"
        Console(stderr=True, soft_wrap=True).print(line, markup=False, highlight=False)
        dashboard.wait()
    return dashboard


def interrupt_this_thread_alone() -> None:
    """Reserve Ctrl-C for the main thread: by its own handler, polars ends the queries of all threads with errors."""
    default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if default and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _prepare(store: ResultStore) -> None:
    """Read or schedule what the first page needs, while the browser opens."""
    from txray.web.dashboard.control_state import control_state

    view, _ = with_defaults(UrlState(), store.catalog.names, store.catalog.feature_types)
    with suppress(JobPending, TxrayError):
        control_state(view, store, [])
        for stage in store.catalog:
            if view.feature_type in stage.feature_types:
                store.neuron_table(stage, view.feature_type)
                stage.vocabulary(view.feature_type)


def _folders(stages: Sequence[StageLike]) -> tuple[list[Path], list[tempfile.TemporaryDirectory[str]]]:
    """Return the folders of the stages; stages in memory are saved to temporary folders, which are returned too."""
    folders: list[Path] = []
    temporary: list[tempfile.TemporaryDirectory[str]] = []
    for stage in stages:
        if isinstance(stage, StageFolder):
            folders.append(stage.path)
        elif isinstance(stage, str | os.PathLike):
            folders += stage_folders([Path(stage)])
        else:
            loaded = as_stage(stage)
            temporary.append(tempfile.TemporaryDirectory(prefix="txray-stage-"))
            folders.append(loaded.save(Path(temporary[-1].name) / "stage"))
    return folders, temporary


def _listening(application: Any, host: str, port: int | None) -> BaseWSGIServer:
    """Return a server that listens at the port, or, by default, at the first free one."""
    from waitress import create_server

    # A browser requests all figures of a page at once, and waitress would warn that they wait for one another.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)

    for number in [port] if port is not None else range(PORT, PORT + _N_PORTS):
        try:
            # waitress itself leaves half a server behind if the port is in use.
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = socket.socket(family)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((host, number))
            except BaseException:
                listener.close()
                raise
            return create_server(application, sockets=[listener], threads=_N_THREADS, ident="txray")
        except OSError as error:
            # An unknown host has no other port either.
            if port is not None or isinstance(error, socket.gaierror):
                raise UsageError(
                    f"dashboard: cannot listen at {host}, port {number} ({error.strerror or error}); choose another "
                    "--port or --host"
                ) from error
        except OverflowError as error:
            raise UsageError(f"dashboard: port {port}; it must lie between 0 and 65535") from error
    raise UsageError(
        f"dashboard: cannot listen at {host}, ports {PORT} to {PORT + _N_PORTS - 1}; choose another --port or --host"
    )


def _in_notebook() -> bool:
    """Return whether this is a Jupyter kernel, where waiting would block the notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"
