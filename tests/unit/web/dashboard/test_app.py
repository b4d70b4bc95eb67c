"""Every callback, asked as a browser asks: a picture or one line, never a blank panel."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.builders.figures import strings_in
from tests.builders.hostile import IN_CORPORA
from tests.builders.layered_stages import AFTER, BEFORE, HIGH, LOW, SILENT, stage_of
from tests.unit.web.dashboard.calls import Callbacks, figure
from tests.unit.web.dashboard.conftest import StoreMaker, all_tested, settled, until
from txray.errors import TxrayError
from txray.web.dashboard.app import build
from txray.web.dashboard.figures import FIGURES
from txray.web.dashboard.jobs.queue import JobPending
from txray.web.dashboard.requests import error_message, parse_view
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.results import ComparisonConfig
from txray.web.dashboard.security import Guard
from txray.web.dashboard.url_state import Range, UrlState


@pytest.fixture
def callbacks(client: FlaskClient) -> Callbacks:
    return Callbacks(client)


def page_of(name: str, view: UrlState) -> UrlState:
    """The view on which a picture stands, with what it needs."""
    return view.replace(page=FIGURES[name].page, neuron=0, word="word3")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", FIGURES)
def test_every_picture_is_drawn_with_its_finding(
    name: str, theme: str, callbacks: Callbacks, view: UrlState
) -> None:
    layer = LOW if FIGURES[name].page in ("neuron", "matching") else ""
    found = figure(callbacks, name, page_of(name, view).replace(layer=layer), theme=theme)
    assert (found["problem"], found["kind"], found["hidden"]) == ("", "", False)
    assert len(found["figure"]["data"]) >= 1
    assert any(character.isdigit() for character in found["finding"])
    assert "\n" not in found["finding"] + found["note"]
    assert found["style"]["height"].endswith("px")
    template = found["figure"]["layout"]
    assert template["height"] > 100


@pytest.mark.parametrize("name", FIGURES)
def test_no_picture_says_anything_as_markup(name: str, callbacks: Callbacks, view: UrlState) -> None:
    layer = LOW if FIGURES[name].page in ("neuron", "matching") else ""
    for word in ("word3", IN_CORPORA[0]):
        asked = page_of(name, view).replace(layer=layer, word=word, prefers=word if layer == "" else "")
        found = figure(callbacks, name, asked)
        shown = {key: value for key, value in found["figure"].items() if key != "frames"}
        texts = strings_in(_without_data(shown))
        assert not any("<script" in text or "<i>" in text.lower() or "$x$" in text for text in texts)
        assert not any(set(text) & set("\x00\x07\u202e") for text in texts)


def _without_data(value: Any) -> Any:
    """A figure without what plotly hands back to scripts and never shows."""
    if isinstance(value, dict):
        return {key: _without_data(inner) for key, inner in value.items() if key != "customdata"}
    if isinstance(value, list):
        return [_without_data(inner) for inner in value]
    return value


@pytest.mark.parametrize("name", FIGURES)
def test_pictures_of_other_pages_stay_as_they_are(name: str, callbacks: Callbacks, view: UrlState) -> None:
    assert callbacks.call(f"{name}-figure.figure", view.replace(page="sources")) is None
    # Until the browser has told its theme nothing is drawn.
    assert callbacks.call(f"{name}-figure.figure", page_of(name, view), theme=None) is None


@pytest.mark.parametrize("name", FIGURES)
def test_a_problem_is_one_line_where_the_picture_would_be(
    name: str, callbacks: Callbacks, view: UrlState
) -> None:
    wrong = {
        "overview": view.replace(layer="nowhere"),
        "neuron": view.replace(page="neuron", layer=LOW, neuron=99),
        "feature": view.replace(page="feature", word=""),
        "matching": view.replace(page="matching", layer="nowhere"),
    }[FIGURES[name].page]
    found = figure(callbacks, name, wrong)
    assert found["kind"] == "notice"
    assert found["finding"] == FIGURES[name].title
    assert len(found["problem"]) > 20
    assert "\n" not in found["problem"]
    assert "Traceback" not in found["problem"]
    assert not found["hidden"]


@pytest.mark.parametrize("name", FIGURES)
def test_what_is_unexpected_is_one_line_too(
    name: str, callbacks: Callbacks, view: UrlState, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a\nb")

    monkeypatch.setattr("txray.web.dashboard.app.FIGURES", {name: replace(FIGURES[name], draw=fail)})
    found = figure(callbacks, name, page_of(name, view))
    assert found["problem"] == "Unexpected ZeroDivisionError: a b. Please report it."
    assert found["kind"] == "notice"


def test_bounds_of_a_view_are_drawn_on_their_axes(callbacks: Callbacks, view: UrlState) -> None:
    asked = view.replace(ranges=(Range("hellinger_corrected", 0.1, 0.3), Range("z_score", 1, None)))
    layout = figure(callbacks, "volcano", asked)["figure"]["layout"]
    (shape,) = (each for each in layout["shapes"] if each["type"] == "rect")
    assert (shape["xref"], shape["x0"], shape["x1"]) == ("x", 0.1, 0.3)
    assert (shape["yref"], shape["y1"]) == ("y domain", 1)
    assert "shapes" not in figure(callbacks, "volcano", view)["figure"]["layout"]


def test_filters_fade_the_other_marks(callbacks: Callbacks, view: UrlState) -> None:
    data = figure(callbacks, "scatter", view.replace(ranges=(Range("hellinger", 0.8, None),)))["figure"][
        "data"
    ]
    chosen = [trace["selectedpoints"] for trace in data if "selectedpoints" in trace]
    assert chosen
    assert "selectedpoints" not in json.dumps(figure(callbacks, "scatter", view)["figure"]["data"])
    nothing = figure(callbacks, "scatter", view.replace(states=("gained",), prefers="not there"))
    assert (nothing["problem"], nothing["kind"]) == ("", "")


def test_one_layer_needs_no_picture_of_layers(tmp_path: Path, store_over: StoreMaker) -> None:
    folders = [
        stage_of(name, layers={LOW: 8}, seed=seed).save(tmp_path / name)
        for name, seed in (("a", 1), ("b", 2))
    ]
    asked = store_over(folders, tmp_path / "cache", ComparisonConfig(permutations=0))
    calls = Callbacks(build(asked, Guard(None)).server.test_client())
    assert figure(calls, "layers", UrlState())["hidden"] is True
    found = figure(calls, "volcano", UrlState())
    assert not found["hidden"]
    assert "Observed, not tested" in json.dumps(found["figure"]["layout"])


def test_a_stage_without_tags_says_so(callbacks: Callbacks, view: UrlState) -> None:
    wide = view.replace(before="wide", after="wide")
    assert figure(callbacks, "tags", wide)["finding"] == "No POS tags"
    found = figure(callbacks, "neuron", wide.replace(page="neuron", layer="wide", neuron=1))
    assert "needs tokens and POS tags" in found["problem"]


def test_the_headline_tells_how_many_stayed(callbacks: Callbacks, store: ResultStore, view: UrlState) -> None:
    found = callbacks.call("summary.children", view)
    assert found is not None
    text = json.dumps(found["summary"]["children"])
    assert "are in use in both unsup and" in text
    assert "21 neurons" in text
    assert found["summary"]["aria-busy"] == "false"
    with pytest.raises(TxrayError):
        settled(store.pair, store.catalog[BEFORE], store.catalog["wide"], "token")
    wrong = callbacks.call("summary.children", view.replace(after="wide"))
    assert wrong is not None
    assert "match their neurons instead" in json.dumps(wrong["summary"]["children"])
    assert callbacks.call("summary.children", view.replace(page="neuron")) is None


@pytest.mark.parametrize(
    "output", ["neuron-details.data", "nearest.children", "feature-rows.children", "sources.children"]
)
def test_texts_of_other_pages_stay_as_they_are(output: str, callbacks: Callbacks, view: UrlState) -> None:
    assert callbacks.call(output, view) is None


def test_a_neuron_is_told_of_or_a_line_says_why_not(callbacks: Callbacks, view: UrlState) -> None:
    asked = view.replace(page="neuron", layer=LOW, neuron=0)
    found = callbacks.call("neuron-details.data", asked)
    assert found is not None
    assert found["neuron-details"]["data"]["title"] == "Neuron 0"
    assert found["neuron-message"] == {"children": "", "hidden": True}
    wrong = callbacks.call("neuron-details.data", asked.replace(neuron=99))
    assert wrong is not None
    assert wrong["neuron-details"]["data"] is None
    assert wrong["neuron-message"]["hidden"] is False
    assert "has no neuron 99" in wrong["neuron-message"]["children"]
    near = callbacks.call("nearest.children", asked)
    assert "Nearest neurons" in json.dumps(near)
    silent = callbacks.call("nearest.children", asked.replace(neuron=SILENT))
    assert "no word in either stage" in json.dumps(silent)
    pruned = callbacks.call("pruned.children", asked)
    assert pruned == {"pruned": {"children": [], "hidden": True}}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("word3", "kept responding to it"),
        ("wrod3", "Did you mean"),
        ("zzzzzzzzzzzz", "does not occur in the text"),
        (IN_CORPORA[0], "kept responding to it"),
        ("", None),
    ],
)
def test_a_feature_is_told_of(word: str, expected: str | None, callbacks: Callbacks, view: UrlState) -> None:
    found = callbacks.call("feature-rows.children", view.replace(page="feature", word=word))
    assert found is not None
    children = found["feature-rows"]["children"]
    assert (children == []) if expected is None else expected in json.dumps(children)


def test_sources_name_every_stage_and_folder(
    callbacks: Callbacks, view: UrlState, folders: list[Path]
) -> None:
    text = json.dumps(callbacks.call("sources.children", view.replace(page="sources")))
    assert all(str(folder) in text for folder in folders)
    assert "200 permutations" in text


def test_controls_come_with_warnings_about_the_url(callbacks: Callbacks, view: UrlState) -> None:
    found = callbacks.call("controls.data", view.replace(before="gone"))
    assert found is not None
    controls = found["controls"]["data"]
    assert controls["before"] == AFTER
    assert [("gone" in text, AFTER in text) for text in controls["warnings"]] == [(True, True)]
    assert controls["layersAfter"] == [LOW, HIGH]


def test_the_page_is_told_what_changed_and_loads_it_again(tmp_path: Path, store_over: StoreMaker) -> None:
    folder = stage_of("own").save(tmp_path / "own")
    asked = store_over([folder], tmp_path / "cache", ComparisonConfig(permutations=0))
    settled(asked.pair, asked.catalog["own"], asked.catalog["own"], "token")
    until(lambda: not any(status.current for status in asked.job_status()), "rest")
    calls = Callbacks(build(asked, Guard(None)).server.test_client())

    def tick(triggered: str) -> dict[str, dict[str, Any]]:
        found = calls.call(
            "version.data",
            UrlState(),
            version=asked.version,
            n_intervals=1,
            n_clicks=1,
            data=asked.version,
            triggered=triggered,
        )
        assert found is not None
        return found

    found = tick("tick.n_intervals")
    assert found["changed"] == {"hidden": True}
    assert found["job-status"] == {"children": ""}
    assert found["tick"] == {"interval": 4_000}
    assert "version" not in found
    stage_of("own", seed=7).save(folder)
    found = tick("tick.n_intervals")
    assert found["changed"] == {"hidden": False}
    assert found["changed-message"]["children"] == f"stage folder {folder} has changed on disk"
    former = asked.catalog["own"].fingerprint
    found = tick("reload.n_clicks")
    assert found["changed"] == {"hidden": True}
    assert asked.catalog["own"].fingerprint != former
    shutil.rmtree(folder)
    found = tick("reload.n_clicks")
    assert "there is no such folder" in found["changed-message"]["children"]
    assert "is gone" in found["changed-message"]["children"]


def test_a_killed_process_is_a_notice_in_every_panel(
    folders: list[Path], tmp_path: Path, store_over: StoreMaker, view: UrlState
) -> None:
    asked = store_over(folders[1:3], tmp_path)
    calls = Callbacks(build(asked, Guard(None)).server.test_client())
    waiting = calls.call("scatter-figure.figure", view)
    assert waiting is not None
    assert waiting["scatter-problem"]["className"] == "empty"
    assert waiting["scatter-problem"]["children"].startswith("reading")
    until(lambda: asked.job_status()[0].pid, "a process")
    pid = asked.job_status()[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    found = figure(calls, "scatter", view)
    assert "ended (code -9" in found["problem"]
    asked.retry_failed()
    all_tested(asked)
    assert figure(calls, "scatter", view)["problem"] == ""


def test_errors_are_one_line() -> None:
    assert error_message(JobPending("reading")) == "reading …"
    assert error_message(TxrayError("as it is")) == "as it is"
    assert error_message(KeyError("a")) == "Unexpected KeyError: 'a'. Please report it."


def test_an_address_is_completed(store: ResultStore) -> None:
    view, remarks = parse_view(store, "/neuron", f"?before={BEFORE}&neuron=3")
    assert (view.page, view.before, view.after, view.feature_type, view.neuron) == (
        "neuron",
        BEFORE,
        "wide",
        "token",
        3,
    )
    assert remarks == []
