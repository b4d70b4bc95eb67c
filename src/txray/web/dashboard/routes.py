"""Addresses beside those of Dash: looks, rows of tables, exports."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import polars as pl
from flask import Flask, Response, jsonify, request

from txray.errors import TxrayError
from txray.plots import to_html
from txray.web.dashboard.figures import FIGURES
from txray.web.dashboard.filtered_comparison import FilteredComparison
from txray.web.dashboard.jobs.worker import JobPending
from txray.web.dashboard.requests import read, told
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.security import refused
from txray.web.dashboard.table_api import neuron_rows, order_of, pair_rows
from txray.web.dashboard.url_state import UrlState
from txray.web.report.packing import look, static

_SHARED = ("parts.js", "table.js", "detail.js")
"""Scripts of the report that pages of the dashboard are made with, too."""
_OWN = ("source.js", "controls.js", "dashboard.js")


def add_addresses(server: Flask, desk: ResultStore) -> None:
    """Make a server answer them.

    Args:
        server: of the dashboard.
        desk: that hands out results.
    """
    own = resources.files("txray.web.dashboard").joinpath("static")
    figures = {name: {"brush": figure.brush, "page": figure.page} for name, figure in FIGURES.items()}

    @server.get("/look.js")
    def _script() -> Response:
        parts = [static(name) for name in _SHARED]
        parts += [own.joinpath(name).read_text(encoding="utf-8") for name in _OWN]
        known = f"const FIGURES = {json.dumps(figures)};"
        return Response("\n".join(['"use strict";', known, *parts]), mimetype="text/javascript")

    @server.get("/look.css")
    def _style() -> Response:
        parts = (look(), own.joinpath("dashboard.css").read_text(encoding="utf-8"))
        return Response("\n".join(parts), mimetype="text/css")

    @server.get("/rows/<table>")
    def _rows(table: str) -> Any:
        rows = {"neurons": neuron_rows, "pairs": pair_rows}.get(table)
        if rows is None:
            return refused(404, f"no table {table!r}; there are neurons and pairs")
        view, _ = read(desk, "/", request.query_string.decode("utf-8", "replace"))
        start, number = (
            request.args.get(name, default, int) for name, default in (("start", 0), ("number", 100))
        )
        if start < 0 or number < 1:
            return refused(
                400, f"rows from {start}, {number} of them: start at 0 or later, ask for at least 1"
            )
        try:
            return jsonify(rows(view, desk, start, number))
        except JobPending as error:
            return jsonify({"total": 0, "start": 0, "rows": [], "waiting": told(error)})
        except TxrayError as error:
            return jsonify({"total": 0, "start": 0, "rows": [], "problem": told(error)})

    @server.get("/export/<name>.<kind>")
    def _export(name: str, kind: str) -> Any:
        if name not in FIGURES and (name, kind) != ("neurons", "csv"):
            return refused(404, f"no figure {name!r}; there are {', '.join(FIGURES)}, and neurons.csv")
        if kind not in ("json", "html", "csv"):
            return refused(
                404, f"{name}.{kind}: pictures are saved as json, html and csv (png and svg by the page)"
            )
        view, _ = read(desk, "/", request.query_string.decode("utf-8", "replace"))
        try:
            if name == "neurons":
                return _csv(_ordered(FilteredComparison.of(view, desk), view), name)
            picture = FIGURES[name].draw(view, desk)
            if kind == "csv":
                return _csv(picture.data, name)
            figure = picture.for_export()
        except (JobPending, TxrayError) as error:
            return refused(409, told(error))
        if kind == "json":
            return Response(figure.to_json(), mimetype="application/json")
        return _attached(to_html(figure, name=name), f"{name}.html", "text/html")


def _ordered(scene: FilteredComparison, view: UrlState) -> pl.DataFrame:
    return scene.picked[order_of(scene, view)].drop("place", "picked")


def _csv(table: pl.DataFrame, name: str) -> Response:
    lists = [column for column, dtype in table.schema.items() if dtype == pl.List(pl.String)]
    return _attached(table.with_columns(pl.col(lists).list.join(" ")).write_csv(), f"{name}.csv", "text/csv")


def _attached(text: str, name: str, kind: str) -> Response:
    answer = Response(text.encode("utf-8", "replace"), mimetype=kind)
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer
