"""Which neurons a view leaves, beside filters in plain Python."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.web.dashboard.builders import AFTER, BEFORE, GONE, HIGH, HOSTILE, LAYERS, LOW, TAGS, stage_of
from tests.unit.web.dashboard.conftest import DeskMaker, settled
from txray.analysis import CONFIDENT_STATES
from txray.errors import UnknownNameError
from txray.plots.features import preferred
from txray.preferences import Stage
from txray.web.dashboard.figures import FIGURES
from txray.web.dashboard.filtered_comparison import FilteredComparison, places
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.results import ComparisonConfig
from txray.web.dashboard.url_state import RANGES, Range, UrlState

Row = dict[str, Any]


@pytest.fixture(scope="session")
def filters(
    desk: ResultStore, stages: dict[str, Stage], view: UrlState
) -> Callable[[UrlState], list[tuple[str, int]]]:
    """What a view should leave: layer and number of every neuron."""
    for name in (BEFORE, AFTER):
        settled(desk.digest, desk.library[name], "pos")
    rows = settled(FilteredComparison.of, view, desk).neurons.to_dicts()

    def prefers(row: Row, feature: str) -> bool:
        return any(
            feature in preferred(stages[name].preferences(layer=row["layer"]), row["neuron"]).feature
            for name in (BEFORE, AFTER)
        )

    def top(row: Row) -> str | None:
        for name in (AFTER, BEFORE):
            found = preferred(
                stages[name].preferences(layer=row["layer"], feature_type="pos"), row["neuron"], "mass"
            )
            if len(found):
                return found.feature[0]
        return None

    def fits(row: Row, each: Range) -> bool:
        value = row[each.column]
        return (
            value is not None
            and (each.low is None or value >= each.low)
            and (each.high is None or value <= each.high)
        )

    def wanted(view: UrlState) -> list[tuple[str, int]]:
        return [
            (row["layer"], row["neuron"])
            for row in rows
            if (not view.layer or row["layer"] == view.layer)
            and (not view.states or row["shown"] in view.states)
            and all(fits(row, each) for each in view.ranges)
            and (not view.prefers or prefers(row, view.prefers))
            and (not view.top or top(row) == view.top)
        ]

    return wanted


def left(view: UrlState, desk: ResultStore) -> list[tuple[str, int]]:
    """What a scene leaves."""
    scene = FilteredComparison.of(view, desk)
    picked = scene.picked.select("layer", "neuron").rows()
    assert scene.neurons.filter("picked").select("layer", "neuron").rows() == picked
    assert scene.picked["place"].is_sorted()
    return picked


Wanted = Callable[[UrlState], list[tuple[str, int]]]


@pytest.mark.parametrize("state", CONFIDENT_STATES)
def test_states_are_kept(state: str, desk: ResultStore, view: UrlState, filters: Wanted) -> None:
    asked = view.but(states=(state,))
    assert left(asked, desk) == filters(asked) != []


@pytest.mark.parametrize("column", RANGES)
@pytest.mark.parametrize("ends", ["low", "high", "both", "value"])
def test_ranges_are_kept_with_their_ends(
    column: str, ends: str, desk: ResultStore, view: UrlState, filters: Wanted
) -> None:
    values = FilteredComparison.of(view, desk).neurons[column].drop_nulls().sort().to_list()
    first, last = float(values[len(values) // 3]), float(values[2 * len(values) // 3])
    low, high = {"low": (first, None), "high": (None, last), "both": (first, last), "value": (first, first)}[
        ends
    ]
    asked = view.but(ranges=(Range(column, low, high),))
    found = left(asked, desk)
    assert found == filters(asked) != []
    # Whoever bounds a column leaves out those without a value, even where every value fits.
    everything = view.but(ranges=(Range(column, min(values), max(values)),))
    assert len(left(everything, desk)) == len(values)


@pytest.mark.parametrize("feature", ["word3", "not there", HOSTILE[0], HOSTILE[3], HOSTILE[6], "w" * 3_000])
def test_neurons_that_prefer_a_feature_on_either_side_are_kept(
    feature: str, desk: ResultStore, view: UrlState, filters: Wanted
) -> None:
    asked = view.but(prefers=feature)
    assert left(asked, desk) == filters(asked)
    assert bool(left(asked, desk)) == (feature != "not there")


@pytest.mark.parametrize("tag", [*TAGS, "not there"])
def test_neurons_whose_mass_falls_on_a_tag_are_kept(
    tag: str, desk: ResultStore, view: UrlState, filters: Wanted
) -> None:
    asked = view.but(top=tag)
    assert left(asked, desk) == filters(asked)


def test_a_neuron_that_fires_no_more_counts_by_what_it_was(
    desk: ResultStore, view: UrlState, filters: Wanted
) -> None:
    found = {tag: left(view.but(top=tag), desk) for tag in TAGS}
    assert sum((LOW, GONE) in each for each in found.values()) == 1


@given(
    layer=st.sampled_from(["", *LAYERS]),
    states=st.sets(st.sampled_from(CONFIDENT_STATES)),
    chosen=st.lists(
        st.tuples(st.sampled_from(list(RANGES)), st.floats(0, 60), st.floats(0, 300)), max_size=2
    ),
    prefers=st.sampled_from(["", "word1", "word7", HOSTILE[1]]),
    top=st.sampled_from(["", *TAGS]),
)
@settings(max_examples=60)
def test_filters_combine(
    desk: ResultStore,
    view: UrlState,
    filters: Wanted,
    layer: str,
    states: set[str],
    chosen: list[tuple[str, float, float]],
    prefers: str,
    top: str,
) -> None:
    kept = tuple(state for state in CONFIDENT_STATES if state in states)
    ranges = {column: Range(column, low, low + width) for column, low, width in chosen}
    asked = view.but(layer=layer, states=kept, prefers=prefers, top=top, ranges=tuple(ranges.values()))
    assert left(asked, desk) == filters(asked)


def test_nothing_may_be_left(desk: ResultStore, view: UrlState) -> None:
    asked = view.but(states=("avoided",), ranges=(Range("hellinger", 0, 1),))
    assert left(asked, desk) == []
    assert "0 of 21 neurons picked out" in FilteredComparison.of(asked, desk).caption


def test_a_layer_is_looked_at_alone(desk: ResultStore, view: UrlState) -> None:
    whole, alone = FilteredComparison.of(view, desk), FilteredComparison.of(view.but(layer=HIGH), desk)
    assert whole.layers == tuple(LAYERS)
    assert alone.layers == (HIGH,)
    assert whole.tested
    assert alone.tested
    expected = whole.neurons.filter(layer=HIGH)
    assert alone.neurons.equals(expected)
    assert "2 layers" in whole.caption
    assert f"layer {HIGH}" in alone.caption
    with pytest.raises(UnknownNameError, match="layer of both stages 'hig'"):
        FilteredComparison.of(view.but(layer="hig"), desk)


def test_places_count_layer_by_layer(desk: ResultStore, view: UrlState) -> None:
    rows = FilteredComparison.of(view, desk).neurons
    stage = desk.library[BEFORE]
    assert places(stage, rows).tolist() == list(range(21))
    some = rows.filter(pl.col("neuron") % 4 == 1)
    offsets = {LOW: 0, HIGH: LAYERS[LOW]}
    assert places(stage, some).tolist() == [
        offsets[row[0]] + row[1] for row in some.select("layer", "neuron").rows()
    ]
    assert places(stage, rows.head(0)).tolist() == []


def test_a_folder_that_was_only_touched_is_read_after_reloading(tmp_path: Path, desk_over: DeskMaker) -> None:
    folders = [stage_of(name, seed=seed).save(tmp_path / name) for name, seed in (("a", 1), ("b", 2))]
    asked = desk_over(folders, tmp_path / "cache", ComparisonConfig(permutations=0))
    view = UrlState(before="a", after="b", feature="token")
    settled(FilteredComparison.of, view, asked)
    for name in ("a", "b"):
        settled(asked.digest, asked.library[name], "pos")
    for folder in folders:
        manifest = folder / "manifest.json"
        told = manifest.stat()
        os.utime(manifest, ns=(told.st_atime_ns, told.st_mtime_ns + 1_000_000))
    assert len(asked.library.changes()) == 2
    assert asked.try_again() == []
    scene = FilteredComparison.of(view, asked)
    assert (scene.before, scene.after) == (asked.library["a"], asked.library["b"])
    assert settled(FIGURES["tags"].draw, view, asked).finding.startswith("Activation mass departs")
