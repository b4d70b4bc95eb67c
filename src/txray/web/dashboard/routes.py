"""Routes beside those of Dash: script and style sheet, rows of tables, exports."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
from flask import Flask, Response, jsonify, request

from txray.errors import TxrayError
from txray.plots import to_html
from txray.web.assets import read_asset, shared_script, shared_style
from txray.web.dashboard.figures import FIGURES
from txray.web.dashboard.filtered_comparison import FilteredComparison
from txray.web.dashboard.jobs.queue import JobPending
from txray.web.dashboard.requests import error_message, parse_view
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.security import refused
from txray.web.dashboard.table_api import neuron_rows, order_of, pair_rows
from txray.web.dashboard.url_state import PAGES

_PACKAGE = "txray.web.dashboard"
_SCRIPTS = ("source.js", "controls.js", "dashboard.js")


def add_routes(server: Flask, store: ResultStore) -> None:
    """Add the routes to the server of the dashboard."""
    figures = {name: {"brush": figure.brush, "page": figure.page} for name, figure in FIGURES.items()}

    @server.get("/dashboard.js")
    def _script() -> Response:
        known = f"const FIGURES = {json.dumps(figures)};\nconst PAGES = {json.dumps(list(PAGES))};"
        parts = [shared_script(), known, *(read_asset(name, _PACKAGE) for name in _SCRIPTS)]
        return Response("\n".join(parts), mimetype="text/javascript")

    @server.get("/dashboard.css")
    def _style() -> Response:
        return Response(f"{shared_style()}\n{read_asset('dashboard.css', _PACKAGE)}", mimetype="text/css")

    @server.get("/rows/<table>")
    def _rows(table: str) -> Any:
        rows = {"neurons": neuron_rows, "pairs": pair_rows}.get(table)
        if rows is None:
            return refused(404, f"no table {table!r}; available are neurons and pairs")
        view, _ = parse_view(store, "/", request.query_string.decode("utf-8", "replace"))
        start, number = (
            request.args.get(name, default, int) for name, default in (("start", 0), ("number", 100))
        )
        if start < 0 or number < 1:
            return refused(
                400,
                f"rows start={start}, number={number}: start must not be negative, number must be positive",
            )
        try:
            return jsonify(rows(view, store, start, number))
        except JobPending as error:
            return jsonify({"total": 0, "start": 0, "rows": [], "waiting": error_message(error)})
        except TxrayError as error:
            return jsonify({"total": 0, "start": 0, "rows": [], "problem": error_message(error)})

    @server.get("/export/<name>.<file_format>")
    def _export(name: str, file_format: str) -> Any:
        if name not in FIGURES and (name, file_format) != ("neurons", "csv"):
            return refused(404, f"no figure {name!r}; available are {', '.join(FIGURES)}, and neurons.csv")
        if file_format not in ("json", "html", "csv"):
            return refused(
                404,
                f"{name}.{file_format}: figures are saved as json, html or csv (png and svg by the page itself)",
            )
        view, _ = parse_view(store, "/", request.query_string.decode("utf-8", "replace"))
        try:
            if name == "neurons":
                filtered = FilteredComparison.of(view, store)
                return _csv(filtered.picked[order_of(filtered, view)].drop("place", "picked"), name)
            picture = FIGURES[name].draw(view, store)
            if file_format == "csv":
                return _csv(picture.data, name)
            figure = picture.for_export()
        except (JobPending, TxrayError) as error:
            return refused(409, error_message(error))
        if file_format == "json":
            return Response(figure.to_json(), mimetype="application/json")
        return _attached(to_html(figure, name=name), f"{name}.html", "text/html")


def _csv(table: pl.DataFrame, name: str) -> Response:
    lists = [column for column, dtype in table.schema.items() if dtype == pl.List(pl.String)]
    return _attached(table.with_columns(pl.col(lists).list.join(" ")).write_csv(), f"{name}.csv", "text/csv")


def _attached(text: str, name: str, mimetype: str) -> Response:
    answer = Response(text.encode("utf-8", "replace"), mimetype=mimetype)
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer
