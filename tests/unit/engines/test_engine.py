"""What every engine is given, and the tree in which results are merged, without a cluster."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.builders.preferences import random_events, stage_of
from tests.builders.texts import corpus_of, documents, small_model
from txray import collect
from txray.capture import CollectRequest, Engine, Selection
from txray.capture.single_pass import SinglePass
from txray.engines import Ray
from txray.engines.cluster import Cluster
from txray.engines.merge_tree import MergeTree
from txray.engines.shard_store import ShardStore
from txray.errors import EngineError, OutputError, UsageError
from txray.preferences import Stage
from txray.preferences.manifest import CHECKPOINT


class Recording:
    """An engine that remembers what it was asked for, and has it done as ever."""

    def __init__(self) -> None:
        self.requests: list[CollectRequest] = []

    def collect(self, request: CollectRequest) -> Stage:
        self.requests.append(request)
        return SinglePass().collect(request)


def test_an_engine_gets_the_whole_request(tmp_path: Path) -> None:
    recording = Recording()
    engine: Engine = recording
    model, corpus = small_model(), corpus_of(documents(5))
    scales = collect(model, corpus, selection="max-1/zscore", name="scales")
    asked: dict[str, Any] = {
        "layers": ["rnn"],
        "feature_types": ["token", "pos"],
        "selection": "max-2/zscore",
        "name": "s",
        "max_words": 40,
        "folds": 4,
        "exemplars": 3,
        "batch_positions": 100,
        "scales": scales,
        "checkpoint": tmp_path / "s",
        "checkpoint_seconds": 0.0,
        "memory": 1 << 30,
        "autocast": None,
    }
    stage = collect(model, corpus, **asked, engine=engine)
    (request,) = recording.requests
    expected = {
        **asked,
        "layers": ("rnn",),
        "feature_types": ("token", "pos"),
        "selection": Selection.parse("max-2/zscore"),
    }
    assert {name: getattr(request, name) for name in asked} == expected | {"scales": request.scales}
    assert request.scales is not None
    assert request.scales.name == "scales"
    assert request.scales.table.equals(scales.scales)
    assert (request.model, request.corpus) == (model, corpus)
    assert stage.manifest["words"] == 40
    assert (tmp_path / "s" / CHECKPOINT).is_file()


def test_a_wrong_request_reaches_no_engine() -> None:
    recording = Recording()
    corpus = corpus_of(documents(3))
    for wrong in (
        {"layers": []},
        {"feature_types": ["token", "token"]},
        {"feature_types": ""},
        {"exemplars": -1},
    ):
        with pytest.raises(UsageError):
            collect(small_model(), corpus, name="s", engine=recording, **wrong)  # type: ignore[arg-type]
    assert recording.requests == []


class Lost(Exception):  # noqa: N818 (as Ray calls it)
    """What a library raises when a machine is lost."""


@dataclass(frozen=True, eq=False)
class Reference:
    value: Any


class ImmediateRay:
    """As much of Ray as a tree uses, in this process."""

    class exceptions:  # noqa: N801 (as Ray calls it)
        RayError = Lost
        RayTaskError = ZeroDivisionError

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.lost: set[Any] = set()

    def remote(self, **options: Any) -> Callable[[Any], Any]:
        assert options["num_cpus"] == 0, "workers may have taken every processor"

        def made(function: Any) -> Any:
            ray = self

            class Task:
                @staticmethod
                def remote(*references: Reference) -> tuple[Reference, Reference]:
                    note, stage = function(*(each.value for each in references))
                    ray.sizes.append(stage.manifest["words"])
                    return Reference(note), Reference(stage)

            return Task

        return made

    def get(self, reference: Reference) -> Any:
        if reference in self.lost:
            raise Lost
        return reference.value


def leaf(number: int, of: int) -> Stage:
    stage = stage_of(random_events(20, seed=number))
    shard = {"number": number, "of": of, "name": "c", "fingerprint": "f"}
    manifest = {"words": 1, "corpus": {"name": "c", "documents": 1, "documents_digest": "1", "shard": shard}}
    return Stage("s", stage.collected, stage.exemplars, manifest)


@pytest.mark.parametrize("of", [2, 8, 11, 32])
def test_every_row_is_merged_a_few_times_only(of: int) -> None:
    ray = ImmediateRay()
    tree = MergeTree(ray, of, max_merges=2)
    for number in range(1, of + 1):
        tree.add(number, Reference(leaf(number, of)))
        for reference in tree.merge_some():
            assert tree.merged(reference) == []
    while merging := tree.merge_some():
        for reference in merging:
            assert tree.merged(reference) == []
    whole = tree.result()
    assert whole is not None
    assert whole.manifest["words"] == of
    assert "shards_missing" not in whole.manifest["corpus"]
    assert len(ray.sizes) == of - 1
    # One after the other would be about of * of / 2.
    assert sum(ray.sizes) <= of * (of - 1).bit_length()


@pytest.mark.parametrize("of", [5, 8, 13])
def test_who_was_faster_leaves_no_trace(of: int) -> None:
    wholes = []
    for order in (range(1, of + 1), range(of, 0, -1), [*range(2, of + 1, 2), *range(1, of + 1, 2)]):
        tree = MergeTree(ImmediateRay(), of, max_merges=1 + len(wholes))
        for number in order:
            if number == 3:
                tree.leave_out(number)
            else:
                tree.add(number, Reference(leaf(number, of)))
            for reference in tree.merge_some():
                tree.merged(reference)
        while merging := tree.merge_some():
            tree.merged(merging[-1])
        wholes.append(tree.result())
    tables = [whole.preferences().table() for whole in wholes if whole is not None]
    assert len(tables) == 3
    assert all(table.equals(tables[0]) for table in tables)


def test_no_more_is_merged_at_once_than_allowed() -> None:
    tree = MergeTree(ImmediateRay(), 8, max_merges=2)
    for number in range(1, 9):
        tree.add(number, Reference(leaf(number, 8)))
    assert len(tree.merge_some()) == 2


def test_what_is_lost_says_which_shards_to_read_again() -> None:
    ray = ImmediateRay()
    tree = MergeTree(ray, 4, max_merges=4)
    for number in range(1, 5):
        tree.add(number, Reference(leaf(number, 4)))
    first, second = tree.merge_some()
    assert first in tree
    ray.lost.add(first)
    assert tree.merged(first) == [1, 2]
    assert tree.merged(second) == []
    assert first not in tree
    # Their shards come a second time, and count once.
    for number in (1, 2):
        tree.add(number, Reference(leaf(number, 4)))
    while merging := tree.merge_some():
        for reference in merging:
            tree.merged(reference)
    whole = tree.result()
    assert whole is not None
    assert whole.manifest["words"] == 4


def test_one_shard_becomes_the_whole_and_none_nothing() -> None:
    ray = ImmediateRay()
    nothing = MergeTree(ray, 3, max_merges=1)
    for number in (3, 1, 2):
        nothing.leave_out(number)
    assert nothing.merge_some() == []
    assert nothing.result() is None
    tree = MergeTree(ray, 1, max_merges=1)
    tree.add(1, Reference(leaf(1, 1)))
    assert tree.merge_some() == []
    whole = tree.result()
    assert whole is not None
    assert "shard" not in whole.manifest["corpus"]


class StartingRay:
    """As much of Ray as starting and leaving a cluster uses."""

    def __init__(self, *, connected: bool = False, fails: str | BaseException = "") -> None:
        self.connected = connected
        self.fails = fails
        self.seen: list[tuple[str, dict[str, Any], str | None]] = []

    def is_initialized(self) -> bool:
        return self.connected

    def init(self, address: str, **options: Any) -> None:
        self.seen.append((address, options, os.environ.get("RAY_USAGE_STATS_ENABLED")))
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if isinstance(self.fails, BaseException):
            raise self.fails
        if self.fails:
            raise ConnectionError(self.fails)

    def shutdown(self) -> None:
        self.seen.append(("shutdown", {}, None))


@pytest.fixture
def starting(monkeypatch: pytest.MonkeyPatch) -> Callable[[StartingRay], StartingRay]:
    """Put one in the place of Ray."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")

    def put(ray: StartingRay) -> StartingRay:
        monkeypatch.setattr("txray.engines.cluster._ray", lambda: ray)
        return ray

    return put


def test_a_cluster_that_is_started_here_tells_nobody_anything(
    starting: Callable[[StartingRay], StartingRay], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    ray = starting(StartingRay())
    with Cluster(None, 6):
        pass
    (address, options, usage), (left, _, _) = ray.seen
    assert (address, usage, left) == ("local", "0", "shutdown")
    assert (options["num_cpus"], options["include_dashboard"], options["log_to_driver"]) == (6, False, False)
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "1"
    assert signal.getsignal(signal.SIGTERM) is before
    # Of a cluster of others, nothing is decided.
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setattr("txray.engines.cluster._require_answer", lambda _: None)
    for given, reached in ((None, "10.0.0.1:6379"), ("auto", "auto")):
        ray = starting(StartingRay())
        with Cluster(given, 6):
            pass
        assert ray.seen[0][0] == reached
        assert "num_cpus" not in ray.seen[0][1]


def test_a_cluster_that_was_connected_before_stays_so(
    starting: Callable[[StartingRay], StartingRay],
) -> None:
    ray = starting(StartingRay(connected=True))
    with Cluster("auto", 2):
        pass
    assert ray.seen == []


def test_a_cluster_that_cannot_be_reached_is_one_line(
    starting: Callable[[StartingRay], StartingRay],
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    starting(StartingRay(fails="no\nsuch  host"))
    with pytest.raises(EngineError) as caught, Cluster("ray://nowhere:1", 2):
        pass
    assert str(caught.value) == "engine ray: no cluster can be reached at 'ray://nowhere:1' (no such host)"
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("error", [ConnectionError("no such host"), KeyboardInterrupt()])
def test_what_was_half_connected_is_left_again(
    error: BaseException, starting: Callable[[StartingRay], StartingRay]
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    ray = starting(StartingRay(fails=error))
    with pytest.raises((EngineError, KeyboardInterrupt)), Cluster(None, 2):
        pass
    assert [seen[0] for seen in ray.seen] == ["local", "shutdown"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_machine_that_does_not_answer_is_not_waited_for(
    starting: Callable[[StartingRay], StartingRay],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        place = f"127.0.0.1:{listening.getsockname()[1]}"
        ray = starting(StartingRay())
        with Cluster(place, 2):
            pass
        assert ray.seen[0][0] == place
    ray = starting(StartingRay())
    with pytest.raises(EngineError, match=f"reached at '{place}' .*refused"), Cluster(place, 2):
        pass
    assert place not in [seen[0] for seen in ray.seen]


def test_shards_of_somebody_else_stay_where_they_are(tmp_path: Path) -> None:
    mine = tmp_path / "stage" / "shards" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("of ice")
    with pytest.raises(OutputError, match="already exists"):
        ShardStore(tmp_path / "stage", {}, 4)
    assert mine.read_text() == "of ice"


@pytest.mark.parametrize(
    ("name", "value"),
    [("workers", 0), ("workers", "2"), ("workers", None), ("workers", True), ("workers", 1.5), ("gpus", "1")],
)
def test_numbers_of_an_engine_that_cannot_be_are_refused(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"engine ray: {name}={value!r}; give a"):
        Ray(**{name: value})


def test_what_would_fill_this_machine_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    corpus = corpus_of(documents(3))
    for engine in (Ray(workers=10**6), Ray(workers=1, cpus=10**6)):
        with pytest.raises(EngineError, match="with 1000000 CPUs in total, this machine has .*; use at most"):
            collect(small_model(), corpus, name="s", engine=engine)
