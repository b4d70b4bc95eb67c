"""The engine for Ray clusters: one machine or many."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from txray.capture.request import CollectRequest
from txray.capture.scales import measured_scales
from txray.capture.single_pass import Collection, shard_of
from txray.checks import is_integer, is_number
from txray.corpus.corpus import Corpus
from txray.engines.actor_pool import ActorPool
from txray.engines.cluster import Cluster
from txray.engines.shard_store import finished
from txray.errors import EngineError, UsageError
from txray.preferences import Preferences, Stage

_SHARDS_PER_WORKER = 4
"""A worker that is lost costs so small a part of its work, and fast workers can do more than slow ones."""


@dataclass(frozen=True)
class Ray:
    """Collects on the workers of a Ray cluster: `txray.collect(..., engine=txray.engines.Ray(workers=8))`.

    The corpus is divided into shards, every n-th document each. A worker holds a copy of the model and reads one shard
    after the other; results are merged two by two, by other processes, in a tree. The stage is that of a single pass:
    counts exactly, sums up to the order of adding up, and up to the rounding of the model's own arithmetic where
    that depends on which documents are read together.

    A worker that ends, such as one that was killed or whose machine went down, is replaced, and its shard is read
    again; a shard counts once, whoever read it. With `checkpoint=folder` of `txray.collect`, finished shards are kept
    in that folder, and the same call goes on from them after an interruption.

    Model and corpus are sent to the workers, so both must be of the kind that can be (what Python can pickle, and
    functions), and files that the corpus reads must be there under the same path on every machine.

    Attributes:
        workers: processes that hold the model.
        shards: parts of the corpus; four per worker by default.
        address: of a cluster that runs already, such as `auto` or `ray://head:10001`. By default the one that this
            process is connected to, or that the environment variable `RAY_ADDRESS` names; else one is started here,
            and ended afterwards, which takes some seconds. What txray starts sends no usage statistics.
        cpus: processor cores, and threads of the model, of each worker.
        gpus: of each worker; by default 1 if the cluster has one for each, else 0.
        retries: how often the shards of a lost worker are tried again before it is given up.

    Raises:
        UsageError: a number that cannot be; when used: Ray is not installed, or model or corpus cannot be sent.
        EngineError: when used: the cluster cannot be reached or has no room for a worker, or workers end again
            and again.
    """

    workers: int = 2
    shards: int | None = None
    address: str | None = None
    cpus: int = 1
    gpus: float | None = None
    retries: int = 3

    def __post_init__(self) -> None:
        least = {"workers": 1, "shards": 1, "cpus": 1, "gpus": 0, "retries": 0}
        for name, at_least in least.items():
            value, optional = getattr(self, name), name in ("shards", "gpus")
            right = is_number if name == "gpus" else is_integer
            if (value is None and optional) or (right(value) and value >= at_least):
                continue
            number = "a number" if name == "gpus" else "a whole number"
            raise UsageError(f"engine ray: {name}={value!r}; give {number}, at least {at_least}")

    def collect(self, request: CollectRequest) -> Stage:
        """Carry out a collection; called by `txray.collect`."""
        n_shards = self.shards or _SHARDS_PER_WORKER * self.workers
        # More workers than shards would have nothing to read.
        workers = min(self.workers, n_shards)
        cluster = Cluster(self.address, workers * self.cpus)
        # A mistake in the request is found before a cluster is started.
        collection = Collection(request)
        source = request.source()
        described = {**collection.settings(source), "shards": n_shards}
        kept = finished(request.checkpoint, described, n_shards)
        with cluster:
            cluster.require_room(self.cpus)
            gpus = cluster.gpus(workers, self.gpus)
            parts = cluster.sent(request, source)
            with ActorPool(cluster, parts, workers, n_shards, self.cpus, gpus, self.retries) as pool:
                scales = None
                if collection.needs_scales:
                    tallies = collection.scale_tallies()
                    if not kept.scales(tallies):
                        pool.measure(tallies, f"scales of {request.name}")
                        kept.keep_scales(tallies)
                    scales = measured_scales(request.name, tallies)
                whole, empty = pool.collect(scales, kept, f"collecting {request.name}")
            if whole is None:
                # All shards are empty: an empty corpus says so itself.
                for _ in source:
                    break
                raise EngineError("engine ray: nothing was read; please report this as a bug")
            return _completed(whole, source, empty)


def _completed(stage: Stage, source: Corpus, empty: Set[int]) -> Stage:
    """The stage as a single pass would have made it, in memory of its own.

    What comes from a cluster lies in memory that is shared with it, and goes when the cluster does.
    """
    read = dict(stage.manifest["corpus"])
    missing = {int(each.partition("/")[0]) for each in read.pop("shards_missing", [])}
    if missing != set(empty):
        raise EngineError(f"engine ray: shards {sorted(missing)} were not read; please report this as a bug")
    manifest = {**stage.manifest, "corpus": {**read, **shard_of(source)}}
    collected = {key: _owned(preferences) for key, preferences in stage.collected.items()}
    return replace(stage, collected=collected, manifest=manifest)


def _owned(preferences: Preferences) -> Preferences:
    arrays: dict[str, Any] = {
        name: np.array(value) for name, value in vars(preferences).items() if isinstance(value, np.ndarray)
    }
    return replace(preferences, **arrays)
