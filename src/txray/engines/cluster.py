"""Connect to a Ray cluster or start one, quietly, and leave it as it was."""

from __future__ import annotations

import logging
import math
import os
import re
import signal
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import torch
from torch import nn

from txray._optional import import_extra
from txray.activations.stored import StoredActivations
from txray.capture.request import CollectRequest
from txray.corpus.corpus import Corpus
from txray.errors import EngineError, UsageError, in_one_line
from txray.models.base_model import input_device
from txray.models.text_model import module_of
from txray.safe_path import imports_from, safe_environment

_LOCAL = "local"
"""Ray's address of a cluster that it starts on this machine."""

_USAGE = "RAY_USAGE_STATS_ENABLED"
"""Ray's switch for the usage statistics that it sends to its developers."""

_SKIPPED_LOGS = "RAY_DEDUP_LOGS_SKIP_REGEX"
"""Ray's pattern of log lines that it does not print."""

_MACHINE = re.compile(r"(?P<host>[\w.-]+):(?P<port>[0-9]{1,5})")
"""Address of a machine, to which Ray connects at once; it looks up other forms first."""

_CLIENT = "ray://"
"""Prefix of the address of a cluster for which Ray passes on no import folders of this process."""

_TIMEOUT_SECONDS = 10

_MAX_LOCAL_CPUS, _MAX_CPUS_PER_CORE = 8, 4
"""Limits of the CPUs of a local cluster, in total and per core: Ray starts a process for each."""


@dataclass(frozen=True)
class RemoteHandles:
    """Ray references of what every worker needs, in the cluster's memory once."""

    model: Any
    corpus: Any
    request: Any


class Cluster:
    """A context in which Ray can be used.

    A cluster that this process is connected to already stays connected; otherwise the context disconnects at its end,
    and ends the cluster if it has started it.
    """

    def __init__(self, address: str | None, cpus: int) -> None:
        """Store the address (None: the connected cluster, or a local one) and the CPUs of a local cluster."""
        self.ray = _ray()
        self._address = address
        self._cpus = cpus
        self._disconnects = False

    def __enter__(self) -> Self:
        """Connect or start.

        Raises:
            EngineError: the cluster cannot be reached or started.
        """
        if self.ray.is_initialized():
            return self
        address = self._address or os.environ.get("RAY_ADDRESS") or _LOCAL
        if address == _LOCAL:
            self._require_cores()
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
        started: dict[str, Any] = {"num_cpus": self._cpus, "include_dashboard": False}
        try:
            _require_answer(address)
            with _environment({_USAGE: "0", **safe_environment()}), _restored_signals():
                if not address.startswith(_CLIENT):
                    quiet["job_config"] = _job_config()
                self.ray.init(address, **quiet, **(started if address == _LOCAL else {}))
        except BaseException as error:
            # Half connected, Ray would refuse every other cluster in this process.
            with suppress(Exception), _restored_signals():
                self.ray.shutdown()
            if not isinstance(error, Exception):
                raise
            action = "started on this machine" if address == _LOCAL else f"reached at {address!r}"
            raise EngineError(f"engine ray: no cluster can be {action} ({in_one_line(error)})") from error
        self._disconnects = True
        return self

    def _require_cores(self) -> None:
        """Raise before a local cluster would exhaust this machine's memory and processes."""
        cores = os.cpu_count() or 1
        limit = max(_MAX_LOCAL_CPUS, _MAX_CPUS_PER_CORE * cores)
        if self._cpus > limit:
            raise EngineError(
                f"engine ray: workers with {self._cpus} CPUs in total, this machine has {cores}; use at most {limit}, "
                "or the address of a cluster"
            )

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._disconnects:
            with _restored_signals():
                self.ray.shutdown()

    def send(self, request: CollectRequest, source: Corpus) -> RemoteHandles:
        """Put model, corpus and request into the cluster's memory, once for all workers.

        Raises:
            UsageError: something cannot be sent to another process.
        """
        # Computed now, so that the workers need not read the whole corpus for it.
        _ = source.fingerprint
        assert not isinstance(request.model, StoredActivations)  # the engine refuses them
        module = module_of(request.model)
        with _on_processor(module):
            model = self._put(
                f"model of type {type(module).__name__}",
                request.model,
                "define the functions it calls in a module, and keep open files, locks and connections out of it",
            )
        corpus = self._put(
            f"corpus {source.name!r}",
            source,
            "build it from functions and values that can be pickled, or read it with txray.read_corpus",
        )
        # None replaces what is sent separately.
        rest: Any = replace(
            request,
            model=None,  # type: ignore[arg-type]
            corpus=None,  # type: ignore[arg-type]
            checkpoint=None,
            max_words=None,
        )
        return RemoteHandles(model, corpus, self._put("request", rest, "give plain values"))

    def gpus(self, workers: int, requested: float | None) -> float:
        """Return the GPUs per worker, such that at least one worker has room.

        Raises:
            EngineError: the cluster has fewer than requested.
        """
        n_gpus = float(self.ray.cluster_resources().get("GPU", 0))
        per_worker = (1.0 if n_gpus >= workers else 0.0) if requested is None else requested
        if per_worker > n_gpus:
            raise EngineError(
                f"engine ray: a worker needs {per_worker:g} GPUs, the cluster has {n_gpus:g}; use gpus=0"
            )
        return per_worker

    def require_room(self, cpus: int) -> None:
        """Raise if no machine can hold a worker, for which Ray would wait for ever.

        Raises:
            EngineError: no machine has that many processor cores.
        """
        largest = max((node["Resources"].get("CPU", 0) for node in self._nodes()), default=0)
        if largest < cpus:
            raise EngineError(
                f"engine ray: a worker needs {cpus} CPUs, the largest machine of the cluster has {largest:g}; use fewer"
            )

    def workers_per_machine(self, workers: int) -> int:
        """Return how many workers share the memory of a machine if they are spread evenly."""
        return math.ceil(workers / max(1, len(self._nodes())))

    def _nodes(self) -> list[dict[str, Any]]:
        return [node for node in self.ray.nodes() if node["Alive"]]

    def _put(self, name: str, value: object, remedy: str) -> Any:
        try:
            return self.ray.put(value)
        except Exception as error:  # pickling raises whatever the parts raise
            raise UsageError(
                f"engine ray: the {name} cannot be sent to another process ({in_one_line(error)}); {remedy}"
            ) from error


def _require_answer(address: str) -> None:
    """Raise if a machine does not answer: Ray would try silently for many minutes.

    Raises:
        OSError: nothing answers at the address.
    """
    machine = _MACHINE.fullmatch(address)
    if machine is not None:
        socket.create_connection((machine["host"], int(machine["port"])), timeout=_TIMEOUT_SECONDS).close()


def _ray() -> Any:
    # Ray reads this setting when it is imported. txray reports ended workers itself, if it matters.
    with _environment({_SKIPPED_LOGS: os.environ.get(_SKIPPED_LOGS, "A worker died or was killed")}):
        return import_extra("the engine for Ray needs", "ray", "ray")


class _ImportFolders(list[str]):
    """Import folders of Ray's workers, limited to folders from which this process imports.

    Ray adds the folder of the script and the working folder, and its workers search them first: a file next to the
    user's data that happens to have the name of a library would run in them.
    """

    def extend(self, folders: Iterable[str]) -> None:
        super().extend(folder for folder in folders if imports_from(folder))


def _job_config() -> Any:
    """Return the settings of a connection whose workers import only from folders of this process."""
    from ray.job_config import JobConfig

    config = JobConfig()
    config._py_driver_sys_path = _ImportFolders()
    return config


@contextmanager
def _on_processor(module: nn.Module) -> Iterator[None]:
    """Move a module to the processor while it is sent, because the workers may lack this process's device."""
    device = input_device(module)
    if device.type == "cpu":
        yield
        return
    module.to(torch.device("cpu"))
    try:
        yield
    finally:
        module.to(device)


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables for a while, also for processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _restored_signals() -> Iterator[None]:
    """Give SIGTERM back to the caller, because Ray installs a handler of its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
