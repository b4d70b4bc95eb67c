"""The Dash application: pages, callbacks, and the addresses that its scripts ask."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any, TypeVar

import plotly.graph_objects as go
import polars as pl
from dash import ClientsideFunction, Dash, Input, Output, State, ctx, html, no_update
from flask import Response, jsonify, request

from txray.dashboard import pages
from txray.dashboard.desk import Desk
from txray.dashboard.facts import facts
from txray.dashboard.figures import FIGURES
from txray.dashboard.guard import Guard
from txray.dashboard.headline import headline
from txray.dashboard.parts import BLANK
from txray.dashboard.processes import NotReady
from txray.dashboard.records import record
from txray.dashboard.rows import neuron_rows, order_of, pair_rows
from txray.dashboard.scene import Scene
from txray.dashboard.view import View, completed, misread
from txray.errors import TxrayError
from txray.plots import to_html
from txray.pruning import Pruning
from txray.reporting.packing import look, static

_SHARED = ("parts.js", "table.js", "detail.js")
"""Scripts of the report that pages of the dashboard are made with, too."""
_OWN = ("source.js", "controls.js", "dashboard.js")
_FLAT = {"height": "0", "overflow": "hidden"}

_PAGE = """<!doctype html>
<html lang="en">
<head>
{%metas%}
<title>{%title%}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/look.css">
{%css%}
</head>
<body>
{%app_entry%}
<footer>{%config%}<script src="/look.js"></script>{%scripts%}{%renderer%}</footer>
</body>
</html>"""

logger = logging.getLogger("txray.dashboard")
Value = TypeVar("Value")


def build(desk: Desk, guard: Guard, prunings: Sequence[Pruning] = ()) -> Dash:
    """The application over a desk.

    Args:
        desk: that hands out results.
        guard: of every request.
        prunings: whose effects the page of a neuron tells.
    """
    app = Dash(
        "txray",
        title="txray",
        update_title="",
        include_assets_files=False,
        index_string=_PAGE,
        add_log_handler=False,
        meta_tags=[
            {"name": "viewport", "content": "width=device-width, initial-scale=1"},
            {"name": "referrer", "content": "no-referrer"},
        ],
    )
    app.layout = pages.shell()
    _addresses(app, desk)
    _figures(app, desk)
    _texts(app, desk, list(prunings))
    _state(app, desk)
    _scripts(app)
    guard.watch(app.server, app.csp_hashes())
    return app


def read(desk: Desk, path: str | None, search: str | None) -> tuple[View, list[str]]:
    """The view that an address names, completed, with remarks on what it names wrongly."""
    view, remarks = completed(View.read(path, search), desk.library.names, desk.library.features)
    return view, [*remarks, *misread(search)]


def told(error: Exception) -> str:
    """What to show for an error: one line, nothing that only developers read."""
    if isinstance(error, NotReady):
        return f"{error} …"
    if isinstance(error, TxrayError):
        return str(error)
    logger.error("unexpected error", exc_info=error)
    return f"Unexpected {type(error).__name__}: {' '.join(str(error).split())}. Please report it."


def _figures(app: Dash, desk: Desk) -> None:
    """One callback per picture, so that each comes as soon as it can, and fails alone."""
    for name, figure in FIGURES.items():

        @app.callback(
            Output(f"{name}-figure", "figure"),
            Output(f"{name}-figure", "style"),
            Output(f"{name}-finding", "children"),
            Output(f"{name}-note", "children"),
            Output(f"{name}-problem", "children"),
            Output(f"{name}-problem", "className"),
            Output(f"{name}-card", "hidden"),
            Input("url", "pathname"),
            Input("url", "search"),
            Input("theme", "data"),
            Input("version", "data"),
        )
        def draw(
            path: str | None,
            search: str | None,
            theme: str | None,
            _version: str,
            name: str = name,
            page: str = figure.page,
        ) -> Any:
            view, _ = read(desk, path, search)
            if theme is None or view.page != page:
                return (no_update,) * 7
            if name == "layers" and len(desk.library.layers) == 1:
                return BLANK, _FLAT, "", "", "", "", True
            try:
                picture = FIGURES[name].draw(view, desk)
                shown = picture.on_screen(dark=theme == "dark")
            except Exception as error:
                kind = "empty" if isinstance(error, NotReady) else "notice"
                return BLANK, _FLAT, FIGURES[name].title, "", told(error), kind, False
            _brushed(shown, name, view)
            size = {
                "height": f"{shown.layout.height}px",
                "width": f"{shown.layout.width}px" if shown.layout.width else "100%",
            }
            return shown, size, picture.finding, picture.note, "", "", False


def _brushed(figure: go.Figure, name: str, view: View) -> None:
    """Draw the bounds that a view has on the axes of a picture, in place."""
    bounds = {each.column: (each.low, each.high) for each in view.ranges}
    axes = {axis: bounds.get(column) for axis, column in zip(("x", "y"), FIGURES[name].brush, strict=True)}
    # What was drawn by hand goes: the bounds of the view are drawn instead.
    figure.update_layout(selectionrevision=view.search, selections=[])
    if not any(axes.values()):
        return
    shape: dict[str, Any] = {
        "type": "rect",
        "line": {"color": "#0072B2", "width": 1.5, "dash": "dot"},
        "layer": "above",
    }
    for axis, ends in axes.items():
        low, high = ends or (None, None)
        open_ended = low is None or high is None
        log = figure.layout[f"{axis}axis"].type == "log"
        shape[f"{axis}ref"] = f"{axis} domain" if open_ended else axis
        shape[f"{axis}0"] = 0 if open_ended else low
        shape[f"{axis}1"] = 1 if open_ended else high
        if log and not open_ended and (low is None or low <= 0):
            shape[f"{axis}ref"], shape[f"{axis}0"], shape[f"{axis}1"] = f"{axis} domain", 0, 1
    figure.add_shape(shape)


def _texts(app: Dash, desk: Desk, prunings: list[Pruning]) -> None:
    """Callbacks that fill in words and small tables."""

    def guarded(
        make: Callable[[View], Value], path: str | None, search: str | None, page: str
    ) -> Value | Any:
        view, _ = read(desk, path, search)
        if view.page != page:
            return no_update
        try:
            return make(view)
        except Exception as error:
            return html.P(told(error), className="notice" if not isinstance(error, NotReady) else "empty")

    address = (Input("url", "pathname"), Input("url", "search"), Input("version", "data"))

    @app.callback(Output("headline", "children"), Output("headline", "aria-busy"), *address)
    def _headline(path: str | None, search: str | None, _version: str) -> Any:
        view, _ = read(desk, path, search)
        if view.page != "overview":
            return no_update, no_update
        try:
            return headline(Scene.of(view.unfiltered(), desk)), "false"
        except NotReady as waiting:
            return html.P(told(waiting), className="empty"), "true"
        except Exception as error:
            return html.P(told(error), className="notice"), "false"

    @app.callback(Output("nearest", "children"), *address)
    def _nearest(path: str | None, search: str | None, _version: str) -> Any:
        return guarded(lambda view: pages.nearest_rows(view, desk), path, search, "neuron")

    @app.callback(Output("pruned", "children"), Output("pruned", "hidden"), *address)
    def _pruned(path: str | None, search: str | None, _version: str) -> Any:
        view, _ = read(desk, path, search)
        rows = pages.pruned_rows(view, prunings) if view.page == "neuron" else []
        return rows, not rows

    @app.callback(Output("feature-rows", "children"), *address)
    def _feature(path: str | None, search: str | None, _version: str) -> Any:
        return guarded(
            lambda view: pages.feature_rows(view, desk) if view.word else [], path, search, "feature"
        )

    @app.callback(Output("sources", "children"), *address)
    def _sources(path: str | None, search: str | None, _version: str) -> Any:
        return guarded(lambda _: pages.sources(desk), path, search, "sources")

    @app.callback(
        Output("record", "data"), Output("neuron-say", "children"), Output("neuron-say", "hidden"), *address
    )
    def _record(path: str | None, search: str | None, _version: str) -> Any:
        view, _ = read(desk, path, search)
        if view.page != "neuron":
            return no_update, no_update, no_update
        try:
            return record(view, desk), "", True
        except Exception as error:
            return None, told(error), False


def _state(app: Dash, desk: Desk) -> None:
    """Callbacks that tell what is being done and what has changed."""

    @app.callback(
        Output("facts", "data"), Input("url", "pathname"), Input("url", "search"), Input("version", "data")
    )
    def _facts(path: str | None, search: str | None, _version: str) -> Any:
        view, remarks = read(desk, path, search)
        return facts(view, desk, remarks)

    @app.callback(
        Output("version", "data"),
        Output("doing", "children"),
        Output("tick", "interval"),
        Output("changed-told", "children"),
        Output("changed", "hidden"),
        Input("tick", "n_intervals"),
        Input("reload", "n_clicks"),
        State("version", "data"),
    )
    def _tick(_number: int | None, _clicks: int | None, former: str) -> Any:
        problems = desk.try_again() if ctx.triggered_id == "reload" else []
        changes = [*problems, *desk.library.changes()]
        doing = desk.doing()
        version = desk.version
        return (
            no_update if version == former else version,
            " · ".join(doing),
            1_000 if doing else 4_000,
            "; ".join(dict.fromkeys(changes)),
            not changes,
        )


def _scripts(app: Dash) -> None:
    """Callbacks that run in the browser: see dashboard.js."""
    app.clientside_callback(
        ClientsideFunction("txray", "follow"),
        Output("main", "data-followed"),
        Input("url", "pathname"),
        Input("url", "search"),
        Input("facts", "data"),
        Input("version", "data"),
    )
    app.clientside_callback(
        ClientsideFunction("txray", "shade"),
        Output("theme", "data"),
        Input("shade", "n_clicks"),
    )
    app.clientside_callback(
        ClientsideFunction("txray", "detail"),
        Output("detail", "data-shown"),
        Input("record", "data"),
    )
    for name, figure in FIGURES.items():
        if any(figure.brush):
            app.clientside_callback(
                ClientsideFunction("txray", "brush"),
                Output(f"{name}-card", "data-brushed"),
                Input(f"{name}-figure", "selectedData"),
                State(f"{name}-figure", "id"),
                prevent_initial_call=True,
            )
        app.clientside_callback(
            ClientsideFunction("txray", "click"),
            Output(f"{name}-card", "data-clicked"),
            Input(f"{name}-figure", "clickData"),
            State(f"{name}-figure", "id"),
            State("facts", "data"),
            prevent_initial_call=True,
        )


def _addresses(app: Dash, desk: Desk) -> None:
    """Addresses beside those of Dash: looks, rows of tables, exports."""
    server = app.server
    own = resources.files("txray.dashboard").joinpath("static")
    brushes = {name: list(figure.brush) for name, figure in FIGURES.items()}

    @server.get("/look.js")
    def _script() -> Response:
        import json

        parts = [static(name) for name in _SHARED]
        parts += [own.joinpath(name).read_text(encoding="utf-8") for name in _OWN]
        brushed = f"const BRUSHES = {json.dumps(brushes)};"
        return Response("\n".join(['"use strict";', brushed, *parts]), mimetype="text/javascript")

    @server.get("/look.css")
    def _style() -> Response:
        parts = (look(), own.joinpath("dashboard.css").read_text(encoding="utf-8"))
        return Response("\n".join(parts), mimetype="text/css")

    @server.get("/rows/<table>")
    def _rows(table: str) -> Any:
        rows = {"neurons": neuron_rows, "pairs": pair_rows}.get(table)
        if rows is None:
            return _refused(404, f"no table {table!r}; there are neurons and pairs")
        view, _ = read(desk, "/", request.query_string.decode("utf-8", "replace"))
        start, number = (
            request.args.get(name, default, int) for name, default in (("start", 0), ("number", 100))
        )
        if start < 0 or number < 1:
            return _refused(
                400, f"rows from {start}, {number} of them: start at 0 or later, ask for at least 1"
            )
        try:
            return jsonify(rows(view, desk, start, number))
        except NotReady as error:
            return jsonify({"total": 0, "start": 0, "rows": [], "waiting": told(error)})
        except TxrayError as error:
            return jsonify({"total": 0, "start": 0, "rows": [], "problem": told(error)})

    @server.get("/export/<name>.<kind>")
    def _export(name: str, kind: str) -> Any:
        if name not in FIGURES and (name, kind) != ("neurons", "csv"):
            return _refused(404, f"no figure {name!r}; there are {', '.join(FIGURES)}, and neurons.csv")
        if kind not in ("json", "html", "csv"):
            return _refused(
                404, f"{name}.{kind}: pictures are saved as json, html and csv (png and svg by the page)"
            )
        view, _ = read(desk, "/", request.query_string.decode("utf-8", "replace"))
        try:
            if name == "neurons":
                return _csv(_ordered(Scene.of(view, desk), view), name)
            picture = FIGURES[name].draw(view, desk)
            if kind == "csv":
                return _csv(picture.data, name)
            figure = picture.on_paper()
        except (NotReady, TxrayError) as error:
            return _refused(409, told(error))
        if kind == "json":
            return Response(figure.to_json(), mimetype="application/json")
        return _attached(to_html(figure, name=name), f"{name}.html", "text/html")


def _ordered(scene: Scene, view: View) -> pl.DataFrame:
    return scene.picked[order_of(scene, view)].drop("place", "picked")


def _csv(table: pl.DataFrame, name: str) -> Response:
    lists = [column for column, dtype in table.schema.items() if dtype == pl.List(pl.String)]
    return _attached(table.with_columns(pl.col(lists).list.join(" ")).write_csv(), f"{name}.csv", "text/csv")


def _attached(text: str, name: str, kind: str) -> Response:
    answer = Response(text.encode("utf-8", "replace"), mimetype=kind)
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def _refused(code: int, text: str) -> Response:
    return Response(f"txray: {text}\n", status=code, mimetype="text/plain")
