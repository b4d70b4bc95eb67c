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

from tests.builders.hostile import IN_CORPORA
from tests.builders.layered_stages import AFTER, BEFORE, GONE, HIGH, LAYERS, LOW, TAGS, stage_of
from tests.unit.web.dashboard.conftest import StoreMaker, settled
from txray.analysis import CONFIDENT_STATES
from txray.errors import UnknownNameError
from txray.plots.features import preferred
from txray.preferences import Stage
from txray.web.dashboard.figures import FIGURES
from txray.web.dashboard.filtered_comparison import FilteredComparison, stage_rows
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.results import ComparisonConfig
from txray.web.dashboard.url_state import RANGES, Range, UrlState

Row = dict[str, Any]


@pytest.fixture(scope="session")
def filters(
    store: ResultStore, stages: dict[str, Stage], view: UrlState
) -> Callable[[UrlState], list[tuple[str, int]]]:
    """What a view should leave: layer and number of every neuron."""
    for name in (BEFORE, AFTER):
        settled(store.neuron_table, store.catalog[name], "pos")
    rows = settled(FilteredComparison.of, view, store).neurons.to_dicts()

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


def left(view: UrlState, store: ResultStore) -> list[tuple[str, int]]:
    """What a scene leaves."""
    filtered = FilteredComparison.of(view, store)
    picked = filtered.picked.select("layer", "neuron").rows()
    assert filtered.neurons.filter("picked").select("layer", "neuron").rows() == picked
    assert filtered.picked["place"].is_sorted()
    return picked


Wanted = Callable[[UrlState], list[tuple[str, int]]]


@pytest.mark.parametrize("state", CONFIDENT_STATES)
def test_states_are_kept(state: str, store: ResultStore, view: UrlState, filters: Wanted) -> None:
    asked = view.replace(states=(state,))
    assert left(asked, store) == filters(asked)
    assert filters(asked) or state == "displaced"  # no neuron of these stages grows


@pytest.mark.parametrize("column", RANGES)
@pytest.mark.parametrize("ends", ["low", "high", "both", "value"])
def test_ranges_are_kept_with_their_ends(
    column: str, ends: str, store: ResultStore, view: UrlState, filters: Wanted
) -> None:
    values = FilteredComparison.of(view, store).neurons[column].drop_nulls().sort().to_list()
    first, last = float(values[len(values) // 3]), float(values[2 * len(values) // 3])
    low, high = {"low": (first, None), "high": (None, last), "both": (first, last), "value": (first, first)}[
        ends
    ]
    asked = view.replace(ranges=(Range(column, low, high),))
    found = left(asked, store)
    assert found == filters(asked) != []
    # Whoever bounds a column leaves out those without a value, even where every value fits.
    everything = view.replace(ranges=(Range(column, min(values), max(values)),))
    assert len(left(everything, store)) == len(values)


@pytest.mark.parametrize(
    "feature", ["word3", "not there", IN_CORPORA[0], IN_CORPORA[3], IN_CORPORA[6], "w" * 3_000]
)
def test_neurons_that_prefer_a_feature_on_either_side_are_kept(
    feature: str, store: ResultStore, view: UrlState, filters: Wanted
) -> None:
    asked = view.replace(prefers=feature)
    assert left(asked, store) == filters(asked)
    assert bool(left(asked, store)) == (feature != "not there")


@pytest.mark.parametrize("tag", [*TAGS, "not there"])
def test_neurons_whose_mass_falls_on_a_tag_are_kept(
    tag: str, store: ResultStore, view: UrlState, filters: Wanted
) -> None:
    asked = view.replace(top=tag)
    assert left(asked, store) == filters(asked)


def test_a_neuron_that_fires_no_more_counts_by_what_it_was(
    store: ResultStore, view: UrlState, filters: Wanted
) -> None:
    found = {tag: left(view.replace(top=tag), store) for tag in TAGS}
    assert sum((LOW, GONE) in each for each in found.values()) == 1


@given(
    layer=st.sampled_from(["", *LAYERS]),
    states=st.sets(st.sampled_from(CONFIDENT_STATES)),
    chosen=st.lists(
        st.tuples(st.sampled_from(list(RANGES)), st.floats(0, 60), st.floats(0, 300)), max_size=2
    ),
    prefers=st.sampled_from(["", "word1", "word7", IN_CORPORA[1]]),
    top=st.sampled_from(["", *TAGS]),
)
@settings(max_examples=60)
def test_filters_combine(
    store: ResultStore,
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
    asked = view.replace(layer=layer, states=kept, prefers=prefers, top=top, ranges=tuple(ranges.values()))
    assert left(asked, store) == filters(asked)


def test_nothing_may_be_left(store: ResultStore, view: UrlState) -> None:
    asked = view.replace(states=("avoided",), ranges=(Range("hellinger", 0, 1),))
    assert left(asked, store) == []
    assert "0 of 21 neurons selected" in FilteredComparison.of(asked, store).caption


def test_a_layer_is_looked_at_alone(store: ResultStore, view: UrlState) -> None:
    whole, alone = FilteredComparison.of(view, store), FilteredComparison.of(view.replace(layer=HIGH), store)
    assert whole.layers == tuple(LAYERS)
    assert alone.layers == (HIGH,)
    assert whole.tested
    assert alone.tested
    expected = whole.neurons.filter(layer=HIGH)
    assert alone.neurons.equals(expected)
    assert "2 layers" in whole.caption
    assert f"layer {HIGH}" in alone.caption
    with pytest.raises(UnknownNameError, match="layer of both stages 'hig'"):
        FilteredComparison.of(view.replace(layer="hig"), store)


def test_places_count_layer_by_layer(store: ResultStore, view: UrlState) -> None:
    rows = FilteredComparison.of(view, store).neurons
    stage = store.catalog[BEFORE]
    assert stage_rows(stage, rows).tolist() == list(range(21))
    some = rows.filter(pl.col("neuron") % 4 == 1)
    offsets = {LOW: 0, HIGH: LAYERS[LOW]}
    assert stage_rows(stage, some).tolist() == [
        offsets[row[0]] + row[1] for row in some.select("layer", "neuron").rows()
    ]
    assert stage_rows(stage, rows.head(0)).tolist() == []


def test_a_folder_that_was_only_touched_is_read_after_reloading(
    tmp_path: Path, store_over: StoreMaker
) -> None:
    folders = [stage_of(name, seed=seed).save(tmp_path / name) for name, seed in (("a", 1), ("b", 2))]
    asked = store_over(folders, tmp_path / "cache", ComparisonConfig(permutations=0))
    view = UrlState(before="a", after="b", feature_type="token")
    settled(FilteredComparison.of, view, asked)
    for name in ("a", "b"):
        settled(asked.neuron_table, asked.catalog[name], "pos")
    for folder in folders:
        manifest = folder / "manifest.json"
        told = manifest.stat()
        os.utime(manifest, ns=(told.st_atime_ns, told.st_mtime_ns + 1_000_000))
    assert len(asked.catalog.changes()) == 2
    assert asked.retry_failed() == []
    filtered = FilteredComparison.of(view, asked)
    assert (filtered.before, filtered.after) == (asked.catalog["a"], asked.catalog["b"])
    assert settled(FIGURES["tags"].draw, view, asked).finding.startswith("Activation mass ")
