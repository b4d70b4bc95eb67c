"""A Ray cluster: reached or started, quietly, and left as it was."""

from __future__ import annotations

import logging
import math
import os
import re
import signal
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import torch

from txray._optional import import_extra
from txray.capture.request import CollectRequest
from txray.capture.scales import MeasuredScales
from txray.corpus.corpus import Corpus
from txray.errors import EngineError, UsageError, in_one_line
from txray.models.base_model import input_device
from txray.models.text_model import TextModel
from txray.safe_path import imports_from, safe_environment

_HERE = "local"
"""Ray's word for a cluster that is started here."""

_USAGE = "RAY_USAGE_STATS_ENABLED"
"""Ray's switch for statistics that it would send to its makers."""

_UNTOLD = "RAY_DEDUP_LOGS_SKIP_REGEX"
"""Ray's pattern of lines that it does not print."""

_MACHINE = re.compile(r"(?P<host>[\w.-]+):(?P<port>[0-9]{1,5})")
"""The address of a cluster by its machine, which Ray asks at once; those of other forms it looks up first."""

_CLIENT = "ray://"
"""Begins the address of a cluster to which Ray gives no folder of this process to import from."""

_SECONDS = 10
"""How long a machine may take to answer."""


_MOST_HERE, _MOST_PER_CORE = 8, 4
"""CPUs that a cluster started here may be told to have, in all and per core: Ray starts a process for each."""


@dataclass(frozen=True)
class RemoteHandles:
    """What every worker needs, held by the cluster once: references of Ray."""

    model: Any
    corpus: Any
    request: Any


class Cluster:
    """A context in which Ray can be used.

    A cluster that this process is connected to already is used and left alone; one that was reached here is left
    again, and one that was started here is ended.
    """

    def __init__(self, address: str | None, cpus: int) -> None:
        """Nothing happens yet.

        Args:
            address: of a cluster; None for the one at hand, or one that is started here.
            cpus: of a cluster that is started here.
        """
        self.ray = _ray()
        self._address = address
        self._cpus = cpus
        self._connected_here = False

    def __enter__(self) -> Self:
        """Connect or start.

        Raises:
            EngineError: the cluster cannot be reached or started.
        """
        if self.ray.is_initialized():
            return self
        address = self._address or os.environ.get("RAY_ADDRESS") or _HERE
        if address == _HERE:
            self._require_cores()
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
        started: dict[str, Any] = {"num_cpus": self._cpus, "include_dashboard": False}
        try:
            _require_answer(address)
            with ExitStack() as entered:
                for variable, value in {_USAGE: "0", **safe_environment()}.items():
                    entered.enter_context(_set(variable, value))
                entered.enter_context(_signals_kept())
                if not address.startswith(_CLIENT):
                    quiet["job_config"] = _job_config()
                self.ray.init(address, **quiet, **(started if address == _HERE else {}))
        except BaseException as error:
            # Half connected, Ray would refuse every other cluster in this process.
            with suppress(Exception), _signals_kept():
                self.ray.shutdown()
            if not isinstance(error, Exception):
                raise
            told = "started here" if address == _HERE else f"reached at {address!r}"
            raise EngineError(f"engine ray: no cluster can be {told} ({in_one_line(error)})") from error
        self._connected_here = True
        return self

    def _require_cores(self) -> None:
        """Refuse what would take this machine's memory and processes before anything could be told."""
        cores = os.cpu_count() or 1
        most = max(_MOST_HERE, _MOST_PER_CORE * cores)
        if self._cpus > most:
            raise EngineError(
                f"engine ray: workers with {self._cpus} CPUs in all, this machine has {cores}; give at most {most}, or "
                "the address of a cluster"
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connected_here:
            with _signals_kept():
                self.ray.shutdown()

    def sent(self, request: CollectRequest, source: Corpus) -> RemoteHandles:
        """Put what the workers need into the cluster's memory, once for all of them.

        Args:
            request: whose model is left where it is.
            source: the documents.

        Raises:
            UsageError: something that cannot be sent to another process.
        """
        # Known here, so that the workers need not read everything to find it out.
        _ = source.fingerprint
        with _on_processor(request.model):
            model = self._put(
                f"model of type {_type_name(request.model)}",
                request.model,
                "define what it calls in a module, and keep open files, locks and connections out of it",
            )
        corpus = self._put(
            f"corpus {source.name!r}",
            source,
            "make it of functions and values that can be pickled, or read it with txray.read_corpus",
        )
        # None in place of what was sent by itself; of a stage that gives scales, no more than those.
        given = request.scales
        rest: Any = replace(
            request,
            model=None,  # type: ignore[arg-type]
            corpus=None,  # type: ignore[arg-type]
            scales=None if given is None else MeasuredScales(given.name, given.scales),
            checkpoint=None,
            max_words=None,
        )
        return RemoteHandles(model, corpus, self._put("request", rest, "give plain values"))

    def gpus(self, workers: int, asked: float | None) -> float:
        """GPUs of each worker, so that there is room for one worker at least.

        Raises:
            EngineError: the cluster has not as many.
        """
        there = float(self.ray.cluster_resources().get("GPU", 0))
        each = (1.0 if there >= workers else 0.0) if asked is None else asked
        if each > there:
            raise EngineError(
                f"engine ray: a worker is to have {each:g} GPUs, the cluster has {there:g}; give gpus=0"
            )
        return each

    def require_room(self, cpus: int) -> None:
        """Refuse to wait for ever.

        Raises:
            EngineError: no machine has so many processor cores.
        """
        most = max((node["Resources"].get("CPU", 0) for node in self._nodes()), default=0)
        if most < cpus:
            raise EngineError(
                f"engine ray: a worker is to have {cpus} CPUs, the largest machine of the cluster has {most:g}; "
                "give fewer"
            )

    def workers_per_machine(self, workers: int) -> int:
        """How many workers share the memory of a machine, if they are spread evenly."""
        return math.ceil(workers / max(1, len(self._nodes())))

    def _nodes(self) -> list[dict[str, Any]]:
        return [node for node in self.ray.nodes() if node["Alive"]]

    def _put(self, what: str, thing: object, remedy: str) -> Any:
        try:
            return self.ray.put(thing)
        except Exception as error:  # whatever its parts raise when they are pickled
            raise UsageError(
                f"engine ray: the {what} cannot be sent to another process ({in_one_line(error)}); {remedy}"
            ) from error


def _require_answer(address: str) -> None:
    """Refuse a machine on which nothing answers: Ray would try for many minutes, and say nothing.

    Raises:
        OSError: nothing answers there.
    """
    found = _MACHINE.fullmatch(address)
    if found is not None:
        socket.create_connection((found["host"], int(found["port"])), timeout=_SECONDS).close()


def _ray() -> Any:
    # Ray reads when it is imported what it shall not tell. That a worker ended is told by txray, if it matters.
    with _set(_UNTOLD, os.environ.get(_UNTOLD, "A worker died or was killed")):
        return import_extra("the engine for Ray needs", "ray", "ray")


class _ImportFolders(list[str]):
    """Folders for Ray's workers to import from, of those that Ray names: the ones that this process imports from.

    Ray names the folder of the script and the working folder, and its workers look there first: a file that happens to
    lie beside somebody's data, and has the name of a library, would run in them.
    """

    def extend(self, folders: Iterable[str]) -> None:
        super().extend(folder for folder in folders if imports_from(folder))


def _job_config() -> Any:
    """Return the settings of a connection whose workers import from nowhere that this process does not import from."""
    from ray.job_config import JobConfig

    config = JobConfig()
    config._py_driver_sys_path = _ImportFolders()
    return config


def _type_name(model: object) -> str:
    return type(model.module if isinstance(model, TextModel) else model).__name__


@contextmanager
def _on_processor(model: Any) -> Iterator[None]:
    """Send the weights from the processor's memory: the process that sends need not have what the workers have."""
    device = input_device(model.module if isinstance(model, TextModel) else model)
    if device.type == "cpu":
        yield
        return
    model.to(torch.device("cpu"))
    try:
        yield
    finally:
        model.to(device)


@contextmanager
def _set(variable: str, value: str) -> Iterator[None]:
    """An environment variable that holds for a while, and for processes that are started meanwhile."""
    before = os.environ.get(variable)
    os.environ[variable] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes the signal that ends a process for itself; afterwards it is the caller's again."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
