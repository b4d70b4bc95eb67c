"""Comparisons of which some layers are tested, none yet, or none ever: every part of a page tells them apart."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any, Protocol

import polars as pl
import pytest

from tests.builders.stages import stage_of, vocabulary
from tests.unit.web.dashboard.conftest import CONFIG, StoreMaker, all_tested, settled
from tests.unit.web.dashboard.test_panels import plain
from txray.analysis import compare
from txray.analysis.states import STATE_NAMES
from txray.preferences import Stage
from txray.web.dashboard.cache import Cache
from txray.web.dashboard.control_state import control_state
from txray.web.dashboard.figures import FIGURES
from txray.web.dashboard.filtered_comparison import FilteredComparison
from txray.web.dashboard.jobs.plan import JobPlan
from txray.web.dashboard.neuron_details import neuron_details
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.results import ComparisonConfig
from txray.web.dashboard.stage_catalog import StageCatalog
from txray.web.dashboard.summary_card import summary_card
from txray.web.dashboard.table_api import neuron_rows
from txray.web.dashboard.url_state import UrlState

NAMES = ("young", "old")
LAYERS = ("l1", "l2", "l3", "l4", "l5", "l6")
DONE = "l2"
SIZE = 16


def layered(name: str, number: int) -> Stage:
    """A stage of six layers, in each of which some neurons win nothing."""
    parts = [
        stage_of(
            name,
            vocabulary(60),
            layer=layer,
            n_neurons=SIZE,
            silent=range(3) if number else range(2, 6),
            rare=() if number else (0,),
            seed=i if number == 0 or i % 2 else i + 100,
        )
        for i, layer in enumerate(LAYERS)
    ]
    collected = {key: value for part in parts for key, value in part.collected.items()}
    exemplars = pl.concat([part.exemplars for part in parts])
    return Stage(name, collected, exemplars, parts[0].manifest, parts[0].tags)


@pytest.fixture(scope="module")
def saved_pair(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("layered")
    return [layered(name, number).save(folder / name) for number, name in enumerate(NAMES)]


@pytest.fixture(scope="module")
def pair_of_stages(saved_pair: list[Path]) -> list[Stage]:
    """The stages as they are on disk, where all layers share one vocabulary."""
    return [Stage.load(folder) for folder in saved_pair]


@pytest.fixture(scope="module")
def view() -> UrlState:
    return UrlState(before=NAMES[0], after=NAMES[1], feature_type="token")


@pytest.fixture(scope="module")
def complete(saved_pair: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of every test, made once."""
    place = tmp_path_factory.mktemp("complete")
    store = ResultStore(StageCatalog(saved_pair), Cache(place), CONFIG)
    for stage in store.catalog:
        settled(store.neuron_table, stage, "token")
    all_tested(store, *NAMES)
    store.close()
    return place


class StoreWith(Protocol):
    """Makes a store that has the tests of some layers, and whose workers have ended."""

    def __call__(self, *done: str) -> ResultStore: ...


@pytest.fixture
def store_with(saved_pair: list[Path], complete: Path, tmp_path: Path, store_over: StoreMaker) -> StoreWith:
    def make(*done: str) -> ResultStore:
        shutil.copytree(complete, tmp_path / "results")
        store = store_over(saved_pair, tmp_path / "results")
        store.close()
        plan = JobPlan(store.cache, store.config)
        for layer in set(LAYERS) - set(done):
            plan.significance(*store.catalog, "token", layer, urgent=False).out.unlink()
        return store

    return make


@pytest.fixture
def partial(store_with: StoreWith) -> ResultStore:
    """A store in which one of six layers is tested, and the tests of the others never begin."""
    return store_with(DONE)


def expected(stages: list[Stage], layer: str) -> pl.DataFrame:
    """One layer, compared and tested without the dashboard."""
    return compare(*stages, layer=layer, feature_type="token", permutations=CONFIG.permutations).neurons


def observed(stages: list[Stage]) -> Counter[str]:
    """State -> neurons of all layers, counted on the lengths."""
    counts: Counter[str] = Counter()
    for layer in LAYERS:
        before, after = (stage.preferences(layer=layer).lengths() > 0 for stage in stages)
        names = {(1, 1): "shared", (1, 0): "avoided", (0, 1): "gained", (0, 0): "unpreferred"}
        counts.update(names[bool(b), bool(a)] for b, a in zip(before, after, strict=True))
    return counts


def test_a_partial_result_is_worded_as_one(
    partial: ResultStore, view: UrlState, pair_of_stages: list[Stage]
) -> None:
    text = plain(summary_card(FilteredComparison.of(view, partial)))
    rows, every = expected(pair_of_stages, DONE), observed(pair_of_stages)
    tested, changed = rows["q_value"].count(), rows.filter(pl.col("q_value") <= 0.05).height
    assert (
        "1 of 6 layers tested so far: at a false discovery rate (FDR) of 5%, "
        f"{changed} of {tested} tested neurons changed significantly" in text
    )
    for state in ("avoided", "gained"):
        sure = rows.filter(pl.col("confident_state").cast(pl.String) == state).height
        seen = rows.filter(pl.col("state").cast(pl.String) == state).height
        assert 0 < seen < every[state]
        assert f"{seen} {STATE_NAMES[state]} ({state}), {sure or 'none'} of them significant" in text
        assert f"{every[state]} {STATE_NAMES[state]} ({state}), " not in text.split("significantly; ")[1]
    assert f"{every['avoided']} only before (avoided), {every['gained']} only after (gained)" in text
    assert f"{5 * SIZE} neurons of 5 layers are not yet tested" in text
    assert f"not yet tested {5 * SIZE}" in text
    matched, null = (rows[name].mean() for name in ("distance_matched", "distance_null"))
    assert (
        f"at equal numbers of wins, {tested} tested neurons {matched:.2f} "
        f"the same if nothing had changed {null:.2f}"
    ) in text


def test_numbers_are_those_of_the_tested_layer(
    partial: ResultStore, view: UrlState, pair_of_stages: list[Stage]
) -> None:
    told = control_state(view, partial, [])
    wanted = Counter(expected(pair_of_stages, DONE)["confident_state"].to_list()) + Counter(untested=5 * SIZE)
    numbers = {each["name"]: each["number"] for each in told["states"]}
    assert {state: number for state, number in numbers.items() if number} == dict(wanted)
    labels = {each["name"]: each["label"] for each in told["states"]}
    assert labels["untested"] == "not yet tested"
    assert labels["avoided"] == "only before, significant"
    assert told["untested"]


def test_untested_neurons_can_be_picked_out(partial: ResultStore, view: UrlState) -> None:
    search = view.replace(states=("untested",)).search
    asked = UrlState.parse("/", search)
    assert asked.states == ("untested",)
    rows = neuron_rows(asked, partial, 0, 500)["rows"]
    assert len(rows) == 5 * SIZE
    assert {row["layer"] for row in rows} == set(LAYERS) - {DONE}
    assert all(row["label"].endswith(", not yet tested") and not row["faint"] for row in rows)
    one = control_state(view.replace(layer="l1", states=("untested",)), partial, [])
    assert [each["name"] for each in one["states"]] == ["untested"]


def test_the_chip_of_a_picked_state_stays_when_tests_are_done(store_with: StoreWith, view: UrlState) -> None:
    whole = store_with(*LAYERS)
    names = [each["name"] for each in control_state(view, whole, [])["states"]]
    assert "untested" not in names
    states = {
        each["name"]: each["number"]
        for each in control_state(view.replace(states=("untested",)), whole, [])["states"]
    }
    assert states["untested"] == 0
    text = plain(summary_card(FilteredComparison.of(view, whole)))
    assert "tested so far" not in text
    assert "yet" not in text
    assert "Observed" not in text


def test_figures_tell_untested_neurons_apart(
    partial: ResultStore, view: UrlState, pair_of_stages: list[Stage]
) -> None:
    drawn: Any = FIGURES["scatter"].draw(view, partial)
    every = {trace.name: len(trace.x) for trace in drawn.figure.data if trace.mode == "markers"}
    shared = observed(pair_of_stages)["shared"]
    rows = expected(pair_of_stages, DONE).filter(pl.col("state") == "shared")
    waiting = shared - len(rows)
    assert every[f"not yet tested ({waiting})"] == waiting
    sure = rows.filter((pl.col("q_value") <= 0.05).fill_null(value=False)).height
    assert sum(number for name, number in every.items() if "tokens after" in name) == sure
    assert "1 of 6 layers tested so far" in drawn.finding
    assert "1 of 6 layers tested so far" in FIGURES["volcano"].draw(view, partial).finding
    assert "1 of 6 layers tested so far" in FilteredComparison.of(view, partial).caption


def test_significant_neurons_come_before_untested_ones_and_those_before_the_rest(
    partial: ResultStore, view: UrlState
) -> None:
    rows = neuron_rows(view, partial, 0, 500)["rows"]
    kinds = ["untested" if row["shown"] == "untested" else "rest" if row["faint"] else "sure" for row in rows]
    assert kinds == sorted(kinds, key=["sure", "untested", "rest"].index)
    assert len(set(kinds)) == 3


def test_a_neuron_that_waits_for_its_test_says_so(partial: ResultStore, view: UrlState) -> None:
    found = settled(neuron_details, view.replace(page="neuron", layer="l1", neuron=8), partial)
    assert (found["state"], found["label"]) == ("untested", "in both stages, not yet tested")
    assert found["sentence"].endswith("Not yet tested.")


def test_before_the_first_test_nothing_is_called_significant(
    store_with: StoreWith, view: UrlState, pair_of_stages: list[Stage]
) -> None:
    waiting = store_with()
    text = plain(summary_card(FilteredComparison.of(view, waiting)))
    every = observed(pair_of_stages)
    assert f"Observed, not yet tested: {every['shared']} of {6 * SIZE} neurons" in text
    assert "significant" not in text
    assert [each["name"] for each in control_state(view, waiting, [])["states"]] == ["untested"]
    assert FIGURES["volcano"].draw(view, waiting).finding == "Observed, not yet tested"
    assert not any(row["faint"] for row in neuron_rows(view, waiting, 0, 500)["rows"])


def test_without_tests_states_are_observed_ones(
    saved_pair: list[Path],
    tmp_path: Path,
    store_over: StoreMaker,
    view: UrlState,
    pair_of_stages: list[Stage],
) -> None:
    plain_store = store_over(saved_pair, tmp_path, ComparisonConfig(permutations=0))
    for stage in plain_store.catalog:
        settled(plain_store.neuron_table, stage, "token")
    settled(plain_store.pair, *plain_store.catalog, "token")
    text = plain(summary_card(FilteredComparison.of(view, plain_store)))
    assert "Observed, not tested: " in text
    assert "significant" not in text
    assert "yet" not in text
    every = observed(pair_of_stages)
    states = control_state(view, plain_store, [])["states"]
    assert {each["name"]: each["number"] for each in states} == {
        state: every[state] for state in ("shared", "avoided", "gained", "unpreferred")
    }
    assert [each["label"] for each in states][1:3] == ["only before, observed", "only after, observed"]
    found = settled(neuron_details, view.replace(page="neuron", layer="l1", neuron=8), plain_store)
    assert found["label"] == "in both stages, not tested"
    assert found["sentence"].endswith("Observed, not tested.")
