"""Tables: sorted, a screenful at a time."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from tests.builders.layered_stages import LAYERS, LOW, RARE, SILENT
from tests.unit.web.dashboard.conftest import settled
from txray.errors import UnknownNameError
from txray.web.dashboard.filtered_comparison import FilteredComparison
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.table_api import MAX_ROWS, neuron_rows, order_of, pair_rows
from txray.web.dashboard.url_state import SORTS, Range, UrlState

EVERY = 1_000


def ordered(view: UrlState, store: ResultStore) -> list[dict[str, Any]]:
    """The rows that a view leaves, in its order."""
    filtered = FilteredComparison.of(view, store)
    return filtered.picked[order_of(filtered, view)].to_dicts()


def value_of(row: dict[str, Any], sort: str) -> Any:
    """What a row is sorted by."""
    value = row[sort]
    if sort == "layer":
        return list(LAYERS).index(value)
    if isinstance(value, list):
        return value[0] if value else None
    return value


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("sort", [sort for sort in SORTS if sort not in ("change", "shown")])
def test_every_column_sorts_both_ways_with_gaps_last(
    sort: str, descending: bool, store: ResultStore, view: UrlState
) -> None:
    rows = FilteredComparison.of(view, store).picked.to_dicts()
    found = ordered(view.replace(sort=sort, descending=descending), store)
    there = [row for row in rows if value_of(row, sort) is not None]
    expected = sorted(there, key=lambda row: value_of(row, sort), reverse=descending)
    values = [value_of(row, sort) for row in found]
    assert values == [value_of(row, sort) for row in expected] + [None] * (len(rows) - len(there))
    # Neurons of one value stay in the order of their layers.
    for first, second in pairwise(found):
        if value_of(first, sort) == value_of(second, sort):
            assert first["place"] < second["place"]
    assert len({row["place"] for row in found}) == len(rows)


@pytest.mark.parametrize("descending", [True, False])
def test_states_sort_in_their_own_order(descending: bool, store: ResultStore, view: UrlState) -> None:
    found = [row["shown"] for row in ordered(view.replace(sort="shown", descending=descending), store)]
    states = list(FilteredComparison.of(view, store).pair.neurons["shown"].dtype.categories)
    assert found == sorted(found, key=states.index, reverse=descending)
    assert len(set(found)) > 3


@pytest.mark.parametrize("descending", [True, False])
def test_by_change_what_is_sure_comes_first(descending: bool, store: ResultStore, view: UrlState) -> None:
    level = store.config.fdr

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        sure = (row["q_value"] or 9) <= level if row["q_value"] is not None else False
        sure = sure or row["confident_state"] in ("avoided", "gained")
        changes = []
        for name in ("hellinger_corrected_low", "z_score", "hellinger"):
            change = row[name]
            changes += [change is None, 0 if change is None else -change if descending else change]
        return (not sure, *changes, -max(row["mass_before"], row["mass_after"]), row["place"])

    found = ordered(view.replace(descending=descending), store)
    assert found == sorted(found, key=key)


def test_pages_of_rows_make_the_whole(store: ResultStore, view: UrlState) -> None:
    whole = neuron_rows(view, store, 0, EVERY)
    assert whole["total"] == len(whole["rows"]) == 21
    pages = [neuron_rows(view, store, start, 4) for start in range(0, 24, 4)]
    assert [page["start"] for page in pages] == [0, 4, 8, 12, 16, 20]
    assert [row for page in pages for row in page["rows"]] == whole["rows"]
    assert neuron_rows(view, store, 21, 4) == {"total": 21, "start": 21, "rows": []}
    assert json.loads(json.dumps(whole, allow_nan=False)) == whole


def test_rows_are_what_the_scene_holds(store: ResultStore, view: UrlState) -> None:
    asked = view.replace(sort="neuron", descending=False, layer=LOW)
    for row, expected in zip(neuron_rows(asked, store, 0, EVERY)["rows"], ordered(asked, store), strict=True):
        assert row["id"] == f"{LOW}/{expected['neuron']}"
        for name in ("place", "layer", "neuron", "shown", "length_before", "length_after"):
            assert row[name] == expected[name]
        assert row["beyond_after"] == expected["beyond_after"]
        for name in (
            *("mass_after", "hellinger", "hellinger_corrected", "hellinger_corrected_low"),
            *("z_score", "q_value"),
        ):
            assert row[name] == (None if expected[name] is None else pytest.approx(expected[name], rel=1e-3))


def test_faint_rows_are_those_of_which_nothing_is_sure(store: ResultStore, view: UrlState) -> None:
    faint = {row["id"]: row["faint"] for row in neuron_rows(view, store, 0, EVERY)["rows"]}
    for row in ordered(view, store):
        sure = row["confident_state"] in ("avoided", "gained") or (
            row["q_value"] is not None and row["q_value"] <= store.config.fdr
        )
        assert faint[f"{row['layer']}/{row['neuron']}"] == (not sure)
    assert faint[f"{LOW}/{SILENT}"]
    assert faint[f"{LOW}/{RARE}"]
    assert not all(faint.values())


def test_without_tests_no_row_is_faint(store: ResultStore, view: UrlState) -> None:
    wide = view.replace(before="wide", after="wide")
    settled(store.pair, store.catalog["wide"], store.catalog["wide"], "token")
    filtered = FilteredComparison.of(wide, store)
    rows = neuron_rows(wide, store, 0, EVERY)["rows"]
    assert len(rows) == 21
    if not filtered.pair.tested:
        assert not any(row["faint"] for row in rows)


def test_filters_leave_rows_out_of_the_total(store: ResultStore, view: UrlState) -> None:
    asked = view.replace(ranges=(Range("hellinger", 0.0, None),), layer=LOW)
    found = neuron_rows(asked, store, 0, EVERY)
    assert found["total"] == len(found["rows"]) == len(FilteredComparison.of(asked, store).picked)
    assert 0 < found["total"] < 12
    assert neuron_rows(view.replace(states=("gained",), prefers="not there"), store, 0, 5)["rows"] == []


def test_pairs_come_most_alike_first_then_those_without(store: ResultStore, view: UrlState) -> None:
    asked = view.replace(page="matching", layer=LOW)
    found = settled(pair_rows, asked, store, 0, EVERY)
    order = ["matched", "unmatched-before", "unmatched-after"]
    states = [row["state"] for row in found["rows"]]
    assert states == sorted(states, key=order.index)
    matched = [row["affinity"] for row in found["rows"] if row["state"] == "matched"]
    assert matched == sorted(matched, reverse=True)
    assert [row["faint"] for row in found["rows"]] == [state != "matched" for state in states]
    pages = [pair_rows(asked, store, start, 3)["rows"] for start in range(0, found["total"], 3)]
    assert [row for page in pages for row in page] == found["rows"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    with pytest.raises(UnknownNameError, match="layer of stage"):
        pair_rows(asked.replace(layer="none"), store, 0, 3)


def test_no_request_gets_more_than_so_many_rows(
    store: ResultStore, view: UrlState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("txray.web.dashboard.table_api.MAX_ROWS", 3)
    assert len(neuron_rows(view, store, 2, EVERY)["rows"]) == 3
    assert MAX_ROWS == 500
