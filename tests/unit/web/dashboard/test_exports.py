"""Rows and files that the page's scripts and links ask for."""

from __future__ import annotations

import csv
import io
import json
import re

import polars as pl
import pytest
from flask.testing import FlaskClient

from tests.builders.hostile import IN_CORPORA
from tests.builders.layered_stages import AFTER, BEFORE, HIGH, LAYERS, LOW
from tests.unit.web.dashboard.conftest import settled
from txray.plots.text import sanitize
from txray.preferences import Stage
from txray.web.dashboard.figures import FIGURES
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.table_api import neuron_rows, pair_rows
from txray.web.dashboard.url_state import UrlState


def search_of(name: str, view: UrlState, store: ResultStore) -> str:
    """The address's search for which a picture can be drawn; what it needs is there."""
    layer = LOW if FIGURES[name].page in ("neuron", "matching") else ""
    asked = view.replace(page=FIGURES[name].page, layer=layer, neuron=0, word=IN_CORPORA[0])
    settled(FIGURES[name].draw, asked, store)
    return asked.search


def test_rows_come_a_page_at_a_time(client: FlaskClient, store: ResultStore, view: UrlState) -> None:
    said = view.replace(sort="layer", descending=False)
    answer = client.get(f"/rows/neurons{said.search}&start=3&number=5")
    assert answer.status_code == 200
    assert answer.json == neuron_rows(said, store, 3, 5)
    assert len(answer.json["rows"]) == 5
    every = client.get(f"/rows/neurons{said.search}").json
    assert every is not None
    assert (every["total"], len(every["rows"])) == (21, 21)
    pairs = settled(pair_rows, view.replace(layer=LOW), store, 1, 2)
    assert client.get(f"/rows/pairs{view.replace(layer=LOW).search}&start=1&number=2").json == pairs


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("start=-1", 400),
        ("number=0", 400),
        ("number=-5", 400),
        ("start=a&number=b", 200),
        ("start=99999999", 200),
        ("start=999999999999999999999999999999&number=999999999999999999999999999999", 200),
        ("start=9223372036854775807", 200),
    ],
)
@pytest.mark.parametrize("table", ["neurons", "pairs"])
def test_odd_pages_of_rows_are_answered(
    table: str, said: str, code: int, client: FlaskClient, store: ResultStore, view: UrlState
) -> None:
    asked = view.replace(layer=LOW)
    settled(pair_rows, asked, store, 0, 1)
    answer = client.get(f"/rows/{table}{asked.search}&{said}")
    assert answer.status_code == code
    if code == 400:
        assert answer.text.startswith("txray: rows start=")
        assert answer.text.count("\n") == 1
    elif "9999" in said or "92233" in said:
        assert answer.json is not None
        assert answer.json["rows"] == []


def test_an_unknown_table_is_refused(client: FlaskClient) -> None:
    answer = client.get("/rows/secrets")
    assert answer.status_code == 404
    assert answer.text.startswith("txray: no table 'secrets'")
    assert answer.text.count("\n") == 1
    assert client.get("/rows/%3Cscript%3E").mimetype == "text/plain"


def test_a_problem_comes_beside_no_rows(client: FlaskClient, view: UrlState) -> None:
    answer = client.get(f"/rows/neurons{view.replace(layer='nowhere').search}")
    assert answer.status_code == 200
    assert answer.json is not None
    assert answer.json["rows"] == []
    assert "unknown layer of both stages 'nowhere'" in answer.json["problem"]


@pytest.mark.parametrize("name", FIGURES)
def test_every_picture_is_saved_as_json(
    name: str, client: FlaskClient, store: ResultStore, view: UrlState
) -> None:
    answer = client.get(f"/export/{name}.json{search_of(name, view, store)}")
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    figure = json.loads(answer.text)
    assert figure["data"]
    assert "<b>" in figure["layout"]["title"]["text"]
    assert not re.search(r"<script|<i>|(?<!&)\$x\$", json.dumps(figure["layout"]), re.IGNORECASE)


@pytest.mark.parametrize("name", FIGURES)
def test_every_picture_is_saved_as_a_page_in_which_words_stay_text(
    name: str, client: FlaskClient, store: ResultStore, view: UrlState
) -> None:
    answer = client.get(f"/export/{name}.html{search_of(name, view, store)}")
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}.html"'
    assert "<script>alert(1)" not in answer.text
    assert "</script>alert" not in answer.text
    assert "plotly" in answer.text.lower()


@pytest.mark.parametrize("name", FIGURES)
def test_every_picture_is_saved_as_a_table(
    name: str, client: FlaskClient, store: ResultStore, view: UrlState
) -> None:
    answer = client.get(f"/export/{name}.csv{search_of(name, view, store)}")
    assert (answer.status_code, answer.mimetype) == (200, "text/csv")
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}.csv"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    rows = list(csv.reader(io.StringIO(answer.text)))
    assert len(rows) > 1
    assert {len(row) for row in rows} == {len(rows[0])}
    assert len(set(rows[0])) == len(rows[0])


def test_the_table_of_neurons_is_saved_as_it_is_sorted(
    client: FlaskClient, store: ResultStore, view: UrlState, stages: dict[str, Stage]
) -> None:
    said = view.replace(sort="neuron", descending=False, layer=LOW)
    answer = client.get(f"/export/neurons.csv{said.search}")
    assert answer.status_code == 200
    rows = pl.read_csv(answer.data)
    assert rows["neuron"].to_list() == list(range(LAYERS[LOW]))
    assert rows["wins_before"].to_list() == stages[BEFORE].preferences(layer=LOW).wins().tolist()
    assert rows["mass_after"].to_list() == pytest.approx(stages[AFTER].preferences(layer=LOW).mass().tolist())
    assert "place" not in rows.columns
    assert "picked" not in rows.columns
    assert rows["beyond_before"].dtype == pl.String
    assert len(pl.read_csv(client.get(f"/export/neurons.csv{view.search}").data)) == 21


def test_words_of_a_neuron_come_back_from_its_table(
    client: FlaskClient, store: ResultStore, view: UrlState, stages: dict[str, Stage]
) -> None:
    asked = view.replace(page="neuron", layer=HIGH, neuron=3)
    settled(FIGURES["neuron"].draw, asked, store)
    text = client.get(f"/export/neuron.csv{asked.search}").text
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    found = [row["feature"] for row in rows if (row["kind"], row["stage"]) == ("token", AFTER)]
    assert found == stages[AFTER].preferences(layer=HIGH).table(3)["feature"].to_list()
    assert {row["stage"] for row in rows} == {BEFORE, AFTER}


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("nothing.csv", "no figure 'nothing'; available are scatter, "),
        ("neurons.json", "no figure 'neurons'"),
        ("scatter.exe", "scatter.exe: figures are saved as json, html or csv"),
        ("scatter.png", "scatter.png: figures are saved as"),
        ("..csv", "no figure '.'"),
    ],
)
def test_what_cannot_be_saved_is_refused_in_one_line(path: str, part: str, client: FlaskClient) -> None:
    answer = client.get(f"/export/{path}")
    assert answer.status_code == 404
    assert answer.mimetype == "text/plain"
    if part not in answer.text:
        assert path.startswith(".")
    assert answer.text.count("\n") == 1


@pytest.mark.parametrize("name", [*FIGURES, "neurons"])
def test_a_problem_is_a_refusal_in_one_line(name: str, client: FlaskClient, view: UrlState) -> None:
    wrong = view.replace(layer="nowhere", neuron=99, word="")
    answer = client.get(f"/export/{name}.csv{wrong.search}")
    assert answer.status_code == 409
    assert answer.text.startswith("txray: ")
    assert answer.text.count("\n") == 1


def test_hostile_words_in_the_table_of_neurons_are_visible(client: FlaskClient, view: UrlState) -> None:
    text = client.get(f"/export/neurons.csv{view.search}").text
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    shown = [
        row[f"{name}_{side}"]
        for row in rows
        for name in ("strongest", "beyond")
        for side in ("before", "after")
    ]
    assert not set("".join(shown)) & set("\x00\x07\u202e\n")
    words = " ".join(shown)
    assert sanitize(IN_CORPORA[0]) in words
    assert sanitize(IN_CORPORA[6]) in words


def test_looks_are_served(client: FlaskClient) -> None:
    script, style = client.get("/dashboard.js"), client.get("/dashboard.css")
    assert script.mimetype == "text/javascript"
    assert script.text.startswith('"use strict";')
    known = re.search(r"^const FIGURES = (\{.*\});$", script.text, re.MULTILINE)
    assert known is not None
    assert json.loads(known[1]) == {
        name: {"brush": list(figure.brush), "page": figure.page} for name, figure in FIGURES.items()
    }
    assert style.mimetype == "text/css"
    assert "eval(" not in script.text
