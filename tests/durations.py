"""Slow tests: measured in processor time, listed in `slow_tests.txt`, left out by `--fast`, checked in every run.

Processor time, with that of child processes, depends on the code rather than on what else the machine does. What a
fixture of a module or session costs is counted once, for the fixture, and makes every test that uses it slow.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

LIST = Path(__file__).with_name("slow_tests.txt")
SLOW = 0.5
"""Seconds of processor time above which `--update-slow` lists a test or fixture."""
TOO_SLOW = 15.0
"""Seconds above which one that is not listed fails the run: machines differ, and the first test that imports a large
library pays for it, but a factor of thirty is no accident."""
BROWSER = {"browser", "chromium", "page", "context", "visit"}
"""Fixtures that need a browser."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="leave out tests that are slow or drive a browser")
    parser.addoption("--update-slow", action="store_true", help=f"measure all tests and write {LIST.name}")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Durations(config), "durations")


class Durations:
    """Marks slow tests as listed, and measures what each test and each shared fixture costs."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._listed = set(LIST.read_text(encoding="utf-8").splitlines()) if LIST.is_file() else set()
        self._cost: dict[str, float] = {}
        self._names: set[str] = set()
        self._shared = 0.0

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Mark what is listed, and tests of a browser; leave both out where only fast tests are wanted."""
        fast, left_out = [], []
        for item in items:
            fixtures = {_fixture(definition) for definition in _fixtures(item)}
            self._names |= {_test(item), *fixtures}
            marks = [*(["slow"] if self._listed & {_test(item), *fixtures} else [])]
            marks += ["browser"] if BROWSER & set(getattr(item, "fixturenames", ())) else []
            for mark in marks:
                item.add_marker(mark)
            (left_out if marks else fast).append(item)
        if self._config.getoption("--fast") and left_out:
            items[:] = fast
            self._config.hook.pytest_deselected(items=left_out)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[None]:
        """Count what a fixture of a module or session costs for the fixture, not for the first test that uses it."""
        before, shared = _processor_time(), self._shared
        try:
            return (yield)
        finally:
            if fixturedef.scope != "function":
                # Without the shared fixtures that it needs itself: these have been counted already.
                cost = _processor_time() - before - (self._shared - shared)
                self._shared += cost
                self._add(_fixture(fixturedef), cost)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Count what a test costs, without the shared fixtures that are made for it."""
        before, shared = _processor_time(), self._shared
        try:
            return (yield)
        finally:
            self._add(_test(item), _processor_time() - before - (self._shared - shared))

    def _add(self, name: str, cost: float) -> None:
        self._cost[name] = max(cost, self._cost.get(name, 0.0))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what a worker of xdist has measured."""
        output = getattr(node, "workeroutput", {})
        for name, cost in output.get("txray_durations", {}).items():
            self._add(name, cost)
        self._names |= set(output.get("txray_names", ()))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Hand over to the controller, write the list, or fail where the list is wrong."""
        if hasattr(self._config, "workeroutput"):
            self._config.workeroutput |= {"txray_durations": self._cost, "txray_names": sorted(self._names)}
        elif self._config.getoption("--update-slow"):
            slow = {name for name, cost in self._cost.items() if cost > SLOW}
            # Of tests that did not run, e.g. because a library is missing here, nothing new is known.
            slow |= (self._listed & self._names) - self._cost.keys()
            LIST.write_text("".join(f"{name}\n" for name in sorted(slow)), encoding="utf-8")
        elif problems := self._problems():
            reporter = self._config.pluginmanager.get_plugin("terminalreporter")
            reporter.section(f"{LIST.name}: run `make slow-tests`", sep="=", red=True)
            for problem in problems:
                reporter.line(problem)
            session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED

    def _problems(self) -> list[str]:
        """Return what takes long and is not listed, and, where everything was collected, what is listed and is gone."""
        problems = [
            f"{name}: {cost:.1f} s of processor time, and not listed"
            for name, cost in sorted(self._cost.items())
            if cost > TOO_SLOW and name not in self._listed
        ]
        if self._config.args == self._config.getini("testpaths"):
            problems += [f"{name}: listed, and does not exist" for name in sorted(self._listed - self._names)]
        return problems


def _test(item: pytest.Item) -> str:
    """Return the name of a test without its parameters."""
    return item.nodeid.partition("[")[0]


def _fixture(definition: Any) -> str:
    return f"{definition.baseid or 'tests'}::fixture {definition.argname}"


def _fixtures(item: pytest.Item) -> list[Any]:
    """Return the definitions of the module's and session's fixtures that a test uses, directly or not."""
    info = getattr(item, "_fixtureinfo", None)
    definitions = [] if info is None else [chain[-1] for chain in info.name2fixturedefs.values() if chain]
    return [definition for definition in definitions if definition.scope != "function"]


def _processor_time() -> float:
    """Return seconds of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
