"""What the controls of every page show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.builders.layered_stages import AFTER, BEFORE, HIGH, LAYERS, LOW, TAGS
from tests.unit.web.dashboard.conftest import StoreMaker
from txray.web.dashboard.control_state import control_state
from txray.web.dashboard.filtered_comparison import FilteredComparison
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.url_state import Range, UrlState


def test_facts_tell_what_there_is_to_choose(store: ResultStore, view: UrlState) -> None:
    told = control_state(view, store, ["a remark"])
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert [stage["name"] for stage in told["stages"]] == ["start", BEFORE, AFTER, "wide"]
    assert len({stage["color"] for stage in told["stages"]}) > 1
    assert (told["before"], told["after"], told["feature"]) == (BEFORE, AFTER, "token")
    assert told["features"] == ["token", "pos"]
    assert told["layers"] == told["layersBefore"] == told["layersAfter"] == list(LAYERS)
    assert told["tags"] == sorted(TAGS)
    assert told["remarks"] == ["a remark"]
    assert (told["picked"], told["total"]) == (21, 21)
    assert told["tested"]
    assert (told["waiting"], told["problem"]) == ("", "")
    assert told["starts"] == [[LOW, 0], [HIGH, LAYERS[LOW]]]


def test_numbers_of_states_leave_the_filter_of_states_out(store: ResultStore, view: UrlState) -> None:
    asked = view.replace(states=("avoided",), layer=LOW)
    told = control_state(asked, store, [])
    rows = FilteredComparison.of(view.replace(layer=LOW), store).neurons
    numbers = {each["name"]: each["number"] for each in told["states"]}
    assert numbers == {state: rows.filter(shown=state).height for state in numbers}
    assert set(numbers) == {"shared", "avoided", "gained", "unpreferred", "undecided"}
    assert told["picked"] == numbers["avoided"]
    assert told["total"] == LAYERS[LOW]
    bounded = control_state(view.replace(ranges=(Range("wins_before", 1, None),)), store, [])
    assert {each["name"]: each["number"] for each in bounded["states"]}["gained"] == 0


def test_bounds_are_told_in_words(store: ResultStore, view: UrlState) -> None:
    asked = view.replace(
        ranges=(Range("hellinger", 0.25, None), Range("q_value", None, 0.05), Range("mass_after", 1, 2))
    )
    told = [each["told"] for each in control_state(asked, store, [])["ranges"]]
    assert told == [
        "Hellinger distance at least 0.25",
        "q-value at most 0.05",
        "mass after 1 to 2",
    ]


def test_facts_do_not_wait(
    folders: list[Path], tmp_path: Path, store_over: StoreMaker, view: UrlState
) -> None:
    fresh = store_over(folders, tmp_path)
    told = control_state(view, fresh, [])
    assert told["waiting"].startswith("reading")
    assert told["picked"] is None
    assert told["layers"] == list(LAYERS)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"layer": "nowhere"}, "unknown layer of both stages 'nowhere'"),
        ({"after": "wide", "feature": "pos"}, "'pos'"),
    ],
)
def test_a_problem_is_told_beside_what_there_is(
    change: dict[str, str], problem: str, store: ResultStore, view: UrlState
) -> None:
    told = control_state(view.replace(**change), store, [])
    assert problem in told["problem"]
    assert "\n" not in told["problem"]
    assert told["picked"] is None
    assert told["stages"]
