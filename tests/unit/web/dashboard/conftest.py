"""A desk over saved stages, and patience."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
from flask.testing import FlaskClient

from tests.builders.layered_stages import AFTER, BEFORE, story
from txray.preferences import Stage
from txray.web.dashboard.app import build
from txray.web.dashboard.cache import Cache
from txray.web.dashboard.jobs.queue import JobPending
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.results import ComparisonConfig, TestedPair
from txray.web.dashboard.security import Guard
from txray.web.dashboard.stage_catalog import StageCatalog
from txray.web.dashboard.url_state import UrlState

DEADLINE = 60.0
"""Seconds that anything may take on a machine that is shared."""
CONFIG = ComparisonConfig(permutations=200)

Value = TypeVar("Value")


class StoreMaker(Protocol):
    """Makes desks that are closed when the test ends."""

    def __call__(
        self, folders: list[Path], cache: Path, config: ComparisonConfig = CONFIG
    ) -> ResultStore: ...


def settled(function: Callable[..., Value], *arguments: Any) -> Value:
    """What a function returns, once everything that it needs is there."""
    end = time.monotonic() + DEADLINE
    while True:
        try:
            return function(*arguments)
        except JobPending as waiting:
            if time.monotonic() > end:
                pytest.fail(f"still not ready: {waiting}")
            time.sleep(0.02)


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"never happened: {what}"
        time.sleep(0.01)


def all_tested(
    store: ResultStore, before: str = BEFORE, after: str = AFTER, feature_type: str = "token"
) -> TestedPair:
    """A pair whose tests are all done."""
    sides = store.catalog[before], store.catalog[after]

    def pair() -> TestedPair:
        found = store.pair(*sides, feature_type)
        assert not found.problem
        if found.tested != found.layers:
            raise JobPending("testing")
        return found

    return settled(pair)


@pytest.fixture(scope="session")
def stages() -> dict[str, Stage]:
    """Name -> stage, as they were before they were saved."""
    return {stage.name: stage for stage in story()}


@pytest.fixture(scope="session")
def folders(stages: dict[str, Stage], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Where the stages lie; not to be written to."""
    place = tmp_path_factory.mktemp("stages-of-a-rather-longer-name")
    return [stage.save(place / str(number)) for number, stage in enumerate(stages.values())]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the results of `desk` are kept."""
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="session")
def store(folders: list[Path], cache: Path) -> Iterator[ResultStore]:
    """A desk over the stages, all of them read, with the pair that is looked at most tested."""
    made = ResultStore(StageCatalog(folders), Cache(cache), CONFIG)
    for stage in made.catalog:
        for feature_type in stage.feature_types:
            settled(made.neuron_table, stage, feature_type)
    all_tested(made)
    yield made
    made.close()


@pytest.fixture
def store_over() -> Iterator[StoreMaker]:
    """Makes further desks."""
    made = []

    def make(folders: list[Path], cache: Path, config: ComparisonConfig = CONFIG) -> ResultStore:
        made.append(ResultStore(StageCatalog(folders), Cache(cache), config))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(scope="session")
def view() -> UrlState:
    """The pair that is looked at most."""
    return UrlState(before=BEFORE, after=AFTER, feature_type="token")


@pytest.fixture(scope="session")
def client(store: ResultStore) -> FlaskClient:
    """Asks the dashboard as a browser on this machine does."""
    return build(store, Guard(None)).server.test_client()
