"""The engine for Ray clusters: one machine or many."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from txray.activations.stored import StoredActivations
from txray.capture.request import CollectRequest
from txray.capture.scales import Scales
from txray.capture.single_pass import Collection, shard_of
from txray.checks import is_integer, is_number
from txray.corpus.corpus import Corpus
from txray.engines.actor_pool import ActorPool
from txray.engines.cluster import Cluster
from txray.engines.shard_store import ShardStore
from txray.errors import EngineError, UsageError
from txray.preferences import Preferences, Stage

_SHARDS_PER_WORKER = 4
"""Several, so that a lost worker costs only a part of its work and fast workers do more than slow ones."""


@dataclass(frozen=True)
class Ray:
    """Collect on the workers of a Ray cluster: `txray.collect(..., engine=txray.engines.Ray(workers=8))`.

    The corpus is divided into shards of every n-th document. Each worker holds a copy of the model and reads one shard
    after another; other processes merge the results two by two, in a tree. The stage equals that of a single pass:
    counts exactly, sums up to rounding, which depends on the order of addition and on the documents in a batch.

    A worker that ends, because it was killed or its machine went down, is replaced and its shard is read again; every
    shard counts once. With `checkpoint=folder` of `txray.collect`, finished shards are stored in that folder, and the
    same call resumes from them after an interruption.

    Model and corpus are sent to the workers, so Python must be able to pickle them (functions included), and files
    that the corpus reads must have the same path on every machine.

    Attributes:
        workers: processes that hold the model.
        shards: parts of the corpus; four per worker by default.
        address: of a running cluster, such as `auto` or `ray://head:10001`. By default the one that this process is
            connected to, or that the environment variable `RAY_ADDRESS` names; otherwise a local cluster is started,
            which takes a few seconds, and ended afterwards. A cluster started by txray sends no usage statistics.
        cpus: processor cores, and threads of the model, per worker.
        gpus: per worker; 1 by default if the cluster has enough, otherwise 0.
        retries: how often a shard of a lost worker is tried again before the collection fails.

    Raises:
        UsageError: a number out of range; when used: Ray is not installed, or model or corpus cannot be sent.
        EngineError: when used: the cluster cannot be reached or has no room for a worker, or workers end repeatedly.

    Example:
        >>> engine = Ray(workers=8, shards=64)
        >>> stage = txray.collect(model, corpus, engine=engine)  # doctest: +SKIP
    """

    workers: int = 2
    shards: int | None = None
    address: str | None = None
    cpus: int = 1
    gpus: float | None = None
    retries: int = 3

    def __post_init__(self) -> None:
        minimum = {"workers": 1, "shards": 1, "cpus": 1, "gpus": 0, "retries": 0}
        for name, least in minimum.items():
            value, optional = getattr(self, name), name in ("shards", "gpus")
            right = is_number if name == "gpus" else is_integer
            if (value is None and optional) or (right(value) and value >= least):
                continue
            number = "a number" if name == "gpus" else "a whole number"
            raise UsageError(f"engine ray: {name}={value!r}; give {number}, at least {least}")

    def collect(self, request: CollectRequest) -> Stage:
        """Collect a stage; called by `txray.collect`."""
        if request.save_activations is not None or isinstance(request.model, StoredActivations):
            what = "stored activations" if request.save_activations is None else "save_activations"
            raise UsageError(
                f"engine ray: {what}: only a single process reads and writes them; omit the engine"
            )
        n_shards = self.shards or _SHARDS_PER_WORKER * self.workers
        # More workers than shards would have nothing to read.
        workers = min(self.workers, n_shards)
        cluster = Cluster(self.address, workers * self.cpus)
        # Mistakes in the request surface before a cluster is started.
        collection = Collection(request)
        source = request.source()
        description = {**collection.settings(source), "shards": n_shards}
        folder = request.checkpoint
        store = None if folder is None else ShardStore(folder, description, n_shards)
        with cluster:
            cluster.require_room(self.cpus)
            gpus = cluster.gpus(workers, self.gpus)
            handles = cluster.send(request, source)
            with ActorPool(cluster, handles, workers, n_shards, self.cpus, gpus, self.retries) as pool:
                scales = None
                if collection.needs_scales:
                    tallies = collection.scale_tallies()
                    if store is None or not store.load_scales(tallies):
                        pool.measure_scales(tallies, f"scales of {request.name}")
                        if store is not None:
                            store.save_scales(tallies)
                    scales = Scales.measured(request.name, tallies)
                scales = collection.with_bins(source, scales or request.scales)
                whole, empty = pool.collect(scales, store, f"collecting {request.name}")
            if whole is None:
                # All shards are empty, and reading an empty corpus raises an error of its own.
                for _ in source:
                    break
                raise EngineError("engine ray: nothing was read; please report this as a bug")
            return _completed(whole, source, empty)


def _completed(stage: Stage, source: Corpus, empty: Set[int]) -> Stage:
    """Return the stage with the manifest of a single pass, copied out of the memory shared with the cluster.

    Shared memory disappears with the cluster.
    """
    read = dict(stage.manifest["corpus"])
    missing = {int(shard.partition("/")[0]) for shard in read.pop("shards_missing", [])}
    if missing != set(empty):
        raise EngineError(f"engine ray: shards {sorted(missing)} were not read; please report this as a bug")
    manifest = {**stage.manifest, "corpus": {**read, **shard_of(source)}}
    collected = {key: _owned(preferences) for key, preferences in stage.collected.items()}
    histograms = {
        key: replace(
            value,
            counts=np.array(value.counts),
            controls=np.array(value.controls),
            edges=np.array(value.edges),
        )
        for key, value in stage.histograms.items()
    }
    return replace(stage, collected=collected, manifest=manifest, histograms=histograms)


def _owned(preferences: Preferences) -> Preferences:
    arrays = _copies(preferences)
    if preferences.runner_ups is not None:
        arrays["runner_ups"] = replace(preferences.runner_ups, **_copies(preferences.runner_ups))
    return replace(preferences, **arrays)


def _copies(columns: object) -> dict[str, Any]:
    return {name: np.array(value) for name, value in vars(columns).items() if isinstance(value, np.ndarray)}
