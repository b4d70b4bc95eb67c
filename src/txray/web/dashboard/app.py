"""The Dash application: pages, callbacks, and the addresses that its scripts ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import plotly.graph_objects as go
from dash import ClientsideFunction, Dash, Input, Output, State, ctx, html, no_update

from txray.pruning import Pruning
from txray.web.dashboard import layout, panels
from txray.web.dashboard.components import BLANK
from txray.web.dashboard.control_state import facts
from txray.web.dashboard.figures import FIGURES
from txray.web.dashboard.filtered_comparison import FilteredComparison
from txray.web.dashboard.jobs.worker import JobPending
from txray.web.dashboard.neuron_details import record
from txray.web.dashboard.requests import read, told
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.routes import add_addresses
from txray.web.dashboard.security import Guard
from txray.web.dashboard.summary_card import headline
from txray.web.dashboard.url_state import UrlState

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

Value = TypeVar("Value")


def build(desk: ResultStore, guard: Guard, prunings: Sequence[Pruning] = ()) -> Dash:
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
        # Pictures come into the page when they are looked at.
        suppress_callback_exceptions=True,
        index_string=_PAGE,
        add_log_handler=False,
        meta_tags=[
            {"name": "viewport", "content": "width=device-width, initial-scale=1"},
            {"name": "referrer", "content": "no-referrer"},
        ],
    )
    app.layout = layout.shell()
    add_addresses(app.server, desk)
    _figures(app, desk)
    _texts(app, desk, list(prunings))
    _state(app, desk)
    _scripts(app)
    guard.watch(app.server, app.csp_hashes())
    return app


def _figures(app: Dash, desk: ResultStore) -> None:
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
            if not FIGURES[name].wanted(desk):
                return BLANK, _FLAT, "", "", "", "", True
            try:
                picture = FIGURES[name].draw(view, desk)
                shown = picture.for_web(dark=theme == "dark")
            except Exception as error:
                kind = "empty" if isinstance(error, JobPending) else "notice"
                return BLANK, _FLAT, FIGURES[name].title, "", told(error), kind, False
            _brushed(shown, name, view)
            size = {
                "height": f"{shown.layout.height}px",
                "width": f"{shown.layout.width}px" if shown.layout.width else "100%",
            }
            return shown, size, picture.finding, picture.note, "", "", False


def _brushed(figure: go.Figure, name: str, view: UrlState) -> None:
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


def _texts(app: Dash, desk: ResultStore, prunings: list[Pruning]) -> None:
    """Callbacks that fill in words and small tables."""

    def guarded(
        make: Callable[[UrlState], Value], path: str | None, search: str | None, page: str
    ) -> Value | Any:
        view, _ = read(desk, path, search)
        if view.page != page:
            return no_update
        try:
            return make(view)
        except Exception as error:
            return html.P(told(error), className="notice" if not isinstance(error, JobPending) else "empty")

    address = (Input("url", "pathname"), Input("url", "search"), Input("version", "data"))

    @app.callback(Output("headline", "children"), Output("headline", "aria-busy"), *address)
    def _headline(path: str | None, search: str | None, _version: str) -> Any:
        view, _ = read(desk, path, search)
        if view.page != "overview":
            return no_update, no_update
        try:
            return headline(FilteredComparison.of(view.unfiltered(), desk)), "false"
        except JobPending as waiting:
            return html.P(told(waiting), className="empty"), "true"
        except Exception as error:
            return html.P(told(error), className="notice"), "false"

    @app.callback(Output("nearest", "children"), *address)
    def _nearest(path: str | None, search: str | None, _version: str) -> Any:
        return guarded(lambda view: panels.nearest_rows(view, desk), path, search, "neuron")

    @app.callback(Output("pruned", "children"), Output("pruned", "hidden"), *address)
    def _pruned(path: str | None, search: str | None, _version: str) -> Any:
        view, _ = read(desk, path, search)
        rows = panels.pruned_rows(view, desk, prunings) if view.page == "neuron" else []
        return rows, not rows

    @app.callback(Output("feature-rows", "children"), *address)
    def _feature(path: str | None, search: str | None, _version: str) -> Any:
        return guarded(
            lambda view: panels.feature_rows(view, desk) if view.word else [], path, search, "feature"
        )

    @app.callback(Output("sources", "children"), *address)
    def _sources(path: str | None, search: str | None, _version: str) -> Any:
        return guarded(lambda _: panels.sources(desk), path, search, "sources")

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


def _state(app: Dash, desk: ResultStore) -> None:
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
        ClientsideFunction("txray", "mount"),
        *(Output(f"{name}-slot", "children") for name in FIGURES),
        Input("url", "pathname"),
        Input("headline", "children"),
        State("cards", "data"),
        *(State(f"{name}-slot", "children") for name in FIGURES),
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
        app.clientside_callback(
            ClientsideFunction("txray", "fit"),
            Output(f"{name}-card", "data-fitted"),
            Input(f"{name}-figure", "figure"),
        )
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
