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


def test_controls_offer_what_there_is(store: ResultStore, view: UrlState) -> None:
    controls = control_state(view, store, ["a warning"])
    assert json.loads(json.dumps(controls, allow_nan=False)) == controls
    assert [stage["name"] for stage in controls["stages"]] == ["start", BEFORE, AFTER, "wide"]
    assert len({stage["color"] for stage in controls["stages"]}) > 1
    assert (controls["before"], controls["after"], controls["featureType"]) == (BEFORE, AFTER, "token")
    assert controls["featureTypes"] == ["token", "pos"]
    assert controls["layers"] == controls["layersBefore"] == controls["layersAfter"] == list(LAYERS)
    assert controls["tags"] == sorted(TAGS)
    assert controls["warnings"] == ["a warning"]
    assert (controls["picked"], controls["total"]) == (21, 21)
    assert controls["tested"]
    assert (controls["waiting"], controls["problem"]) == ("", "")
    assert controls["starts"] == [[LOW, 0], [HIGH, LAYERS[LOW]]]


def test_numbers_of_states_leave_the_filter_of_states_out(store: ResultStore, view: UrlState) -> None:
    asked = view.replace(states=("avoided",), layer=LOW)
    controls = control_state(asked, store, [])
    rows = FilteredComparison.of(view.replace(layer=LOW), store).neurons
    numbers = {each["name"]: each["number"] for each in controls["states"]}
    assert numbers == {state: rows.filter(shown=state).height for state in numbers}
    assert set(numbers) == {"shared", "avoided", "gained", "unpreferred", "undecided"}
    assert controls["picked"] == numbers["avoided"]
    assert controls["total"] == LAYERS[LOW]
    bounded = control_state(view.replace(ranges=(Range("wins_before", 1, None),)), store, [])
    assert {each["name"]: each["number"] for each in bounded["states"]}["gained"] == 0


def test_ranges_are_labelled_in_words(store: ResultStore, view: UrlState) -> None:
    asked = view.replace(
        ranges=(Range("hellinger", 0.25, None), Range("q_value", None, 0.05), Range("mass_after", 1, 2))
    )
    controls = [bounds["label"] for bounds in control_state(asked, store, [])["ranges"]]
    assert controls == [
        "Hellinger distance at least 0.25",
        "q-value at most 0.05",
        "mass after 1 to 2",
    ]


def test_controls_do_not_wait(
    folders: list[Path], tmp_path: Path, store_over: StoreMaker, view: UrlState
) -> None:
    fresh = store_over(folders, tmp_path)
    controls = control_state(view, fresh, [])
    assert controls["waiting"].startswith("reading")
    assert controls["picked"] is None
    assert controls["layers"] == list(LAYERS)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"layer": "nowhere"}, "unknown layer of both stages 'nowhere'"),
        ({"after": "wide", "feature_type": "pos"}, "'pos'"),
    ],
)
def test_a_problem_is_told_beside_what_there_is(
    change: dict[str, str], problem: str, store: ResultStore, view: UrlState
) -> None:
    controls = control_state(view.replace(**change), store, [])
    assert problem in controls["problem"]
    assert "\n" not in controls["problem"]
    assert controls["picked"] is None
    assert controls["stages"]
