"""A desk over saved stages, and patience."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
from flask.testing import FlaskClient

from tests.unit.dashboard.builders import AFTER, BEFORE, story
from txray.dashboard.app import build
from txray.dashboard.cache import Cache
from txray.dashboard.desk import Desk
from txray.dashboard.guard import Guard
from txray.dashboard.processes import NotReady
from txray.dashboard.results import Choices, Pair
from txray.dashboard.stages import Library
from txray.dashboard.view import View
from txray.preferences import Stage

DEADLINE = 60.0
"""Seconds that anything may take on a machine that is shared."""
CHOICES = Choices(permutations=200)

Value = TypeVar("Value")


class DeskMaker(Protocol):
    """Makes desks that are closed when the test ends."""

    def __call__(self, folders: list[Path], cache: Path, choices: Choices = CHOICES) -> Desk: ...


def settled(function: Callable[..., Value], *arguments: Any) -> Value:
    """What a function returns, once everything that it needs is there."""
    end = time.monotonic() + DEADLINE
    while True:
        try:
            return function(*arguments)
        except NotReady as waiting:
            if time.monotonic() > end:
                pytest.fail(f"still not ready: {waiting}")
            time.sleep(0.02)


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"never happened: {what}"
        time.sleep(0.01)


def all_tested(desk: Desk, before: str = BEFORE, after: str = AFTER, kind: str = "token") -> Pair:
    """A pair whose tests are all done."""
    sides = desk.library[before], desk.library[after]

    def pair() -> Pair:
        found = desk.pair(*sides, kind)
        assert not found.problem
        if found.tested != found.layers:
            raise NotReady("testing")
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
def desk(folders: list[Path], cache: Path) -> Iterator[Desk]:
    """A desk over the stages, all of them read, with the pair that is looked at most tested."""
    made = Desk(Library(folders), Cache(cache), CHOICES)
    for stage in made.library:
        for kind in stage.features:
            settled(made.digest, stage, kind)
    all_tested(made)
    yield made
    made.close()


@pytest.fixture
def desk_over() -> Iterator[DeskMaker]:
    """Makes further desks."""
    made = []

    def make(folders: list[Path], cache: Path, choices: Choices = CHOICES) -> Desk:
        made.append(Desk(Library(folders), Cache(cache), choices))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(scope="session")
def view() -> View:
    """The pair that is looked at most."""
    return View(before=BEFORE, after=AFTER, feature="token")


@pytest.fixture(scope="session")
def client(desk: Desk) -> FlaskClient:
    """Asks the dashboard as a browser on this machine does."""
    return build(desk, Guard(None)).server.test_client()
