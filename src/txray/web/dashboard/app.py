"""The Dash application: layout, callbacks and routes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import plotly.graph_objects as go
from dash import ClientsideFunction, Dash, Input, Output, State, ctx, html, no_update

from txray.pruning import Pruning
from txray.web.dashboard import layout, panels
from txray.web.dashboard.components import BLANK
from txray.web.dashboard.control_state import control_state
from txray.web.dashboard.figures import FIGURES
from txray.web.dashboard.filtered_comparison import FilteredComparison
from txray.web.dashboard.jobs.queue import JobPending
from txray.web.dashboard.neuron_details import neuron_details
from txray.web.dashboard.requests import error_message, parse_view
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.routes import add_routes
from txray.web.dashboard.security import Guard
from txray.web.dashboard.summary_card import summary_card
from txray.web.dashboard.url_state import UrlState

_FLAT = {"height": "0", "overflow": "hidden"}

_PAGE = """<!doctype html>
<html lang="en">
<head>
{%metas%}
<title>{%title%}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/dashboard.css">
{%css%}
</head>
<body>
{%app_entry%}
<footer>{%config%}<script src="/dashboard.js"></script>{%scripts%}{%renderer%}</footer>
</body>
</html>"""


def build(store: ResultStore, guard: Guard, prunings: Sequence[Pruning] = ()) -> Dash:
    """Return the application; every request is checked by the guard, and the page of a neuron shows the prunings."""
    app = Dash(
        "txray",
        title="txray",
        update_title="",
        include_assets_files=False,
        # Figures are added to a page when it is shown.
        suppress_callback_exceptions=True,
        index_string=_PAGE,
        add_log_handler=False,
        meta_tags=[
            {"name": "viewport", "content": "width=device-width, initial-scale=1"},
            {"name": "referrer", "content": "no-referrer"},
        ],
    )
    app.layout = layout.shell()
    add_routes(app.server, store)
    _figure_callbacks(app, store)
    _text_callbacks(app, store, list(prunings))
    _state_callbacks(app, store)
    _client_callbacks(app)
    guard.watch(app.server, app.csp_hashes())
    return app


def _figure_callbacks(app: Dash, store: ResultStore) -> None:
    """Add one callback per figure, so that each is shown as soon as it is ready, and fails alone."""
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
            view, _ = parse_view(store, path, search)
            if theme is None or view.page != page:
                return (no_update,) * 7
            if not FIGURES[name].wanted(store):
                return BLANK, _FLAT, "", "", "", "", True
            try:
                picture = FIGURES[name].draw(view, store)
                figure = picture.for_web(dark=theme == "dark")
            except Exception as error:
                return BLANK, _FLAT, FIGURES[name].title, "", error_message(error), _class_of(error), False
            _brushed(figure, name, view)
            size = {
                "height": f"{figure.layout.height}px",
                "width": f"{figure.layout.width}px" if figure.layout.width else "100%",
            }
            return figure, size, picture.finding, picture.note, "", "", False


def _brushed(figure: go.Figure, name: str, view: UrlState) -> None:
    """Draw the ranges that a URL sets on the axes of a figure, in place."""
    bounds = {limits.column: (limits.low, limits.high) for limits in view.ranges}
    axes = {axis: bounds.get(column) for axis, column in zip(("x", "y"), FIGURES[name].brush, strict=True)}
    # The region that was drawn by hand is replaced by the ranges in the URL.
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
        log = figure.layout[f"{axis}axis"].type == "log"
        # Along the whole axis if it has no such end.
        whole = low is None or high is None or (log and low <= 0)
        shape[f"{axis}ref"] = f"{axis} domain" if whole else axis
        shape[f"{axis}0"], shape[f"{axis}1"] = (0, 1) if whole else (low, high)
    figure.add_shape(shape)


def _text_callbacks(app: Dash, store: ResultStore, prunings: list[Pruning]) -> None:
    """Add the callbacks that fill in texts and small tables."""

    def fill(page: str, make: Callable[[UrlState], Any], *outputs: Output) -> None:
        """Add a callback that fills the outputs from the URL, on one page only."""

        @app.callback(*outputs, Input("url", "pathname"), Input("url", "search"), Input("version", "data"))
        def _fill(path: str | None, search: str | None, _version: str) -> Any:
            view, _ = parse_view(store, path, search)
            if view.page != page:
                return no_update if len(outputs) == 1 else (no_update,) * len(outputs)
            return make(view)

    def guarded(make: Callable[[UrlState], list[Any]]) -> Callable[[UrlState], Any]:
        """Return a function that shows an error in place of what could not be made."""

        def attempt(view: UrlState) -> Any:
            try:
                return make(view)
            except Exception as error:
                return html.P(error_message(error), className=_class_of(error))

        return attempt

    def summary(view: UrlState) -> tuple[Any, str]:
        try:
            return summary_card(FilteredComparison.of(view.unfiltered(), store)), "false"
        except Exception as error:
            busy = "true" if isinstance(error, JobPending) else "false"
            return html.P(error_message(error), className=_class_of(error)), busy

    def pruned(view: UrlState) -> tuple[list[Any], bool]:
        rows = panels.pruned_rows(view, store, prunings)
        return rows, not rows

    def neuron(view: UrlState) -> tuple[Any, str, bool]:
        try:
            return neuron_details(view, store), "", True
        except Exception as error:
            return None, error_message(error), False

    fill("overview", summary, Output("summary", "children"), Output("summary", "aria-busy"))
    fill(
        "neuron",
        neuron,
        Output("neuron-details", "data"),
        Output("neuron-message", "children"),
        Output("neuron-message", "hidden"),
    )
    fill("neuron", pruned, Output("pruned", "children"), Output("pruned", "hidden"))
    fill("neuron", guarded(lambda view: panels.nearest_rows(view, store)), Output("nearest", "children"))
    fill(
        "feature",
        guarded(lambda view: panels.feature_rows(view, store) if view.word else []),
        Output("feature-rows", "children"),
    )
    fill("sources", guarded(lambda _: panels.sources(store)), Output("sources", "children"))


def _class_of(error: Exception) -> str:
    """Return the style of a message: that something is on its way, or that it went wrong."""
    return "empty" if isinstance(error, JobPending) else "notice"


def _state_callbacks(app: Dash, store: ResultStore) -> None:
    """Add the callbacks for the controls, running jobs, and changed stage folders."""

    @app.callback(
        Output("controls", "data"), Input("url", "pathname"), Input("url", "search"), Input("version", "data")
    )
    def _controls(path: str | None, search: str | None, _version: str) -> Any:
        view, warnings = parse_view(store, path, search)
        return control_state(view, store, warnings)

    @app.callback(
        Output("version", "data"),
        Output("job-status", "children"),
        Output("tick", "interval"),
        Output("changed-message", "children"),
        Output("changed", "hidden"),
        Input("tick", "n_intervals"),
        Input("reload", "n_clicks"),
        State("version", "data"),
    )
    def _tick(_number: int | None, _clicks: int | None, shown_version: str) -> Any:
        problems = store.retry_failed() if ctx.triggered_id == "reload" else []
        changes = [*problems, *store.catalog.changes()]
        running = [str(status) for status in store.job_status() if status.current is not None]
        version = store.version
        return (
            no_update if version == shown_version else version,
            " · ".join(running),
            1_000 if running else 4_000,
            "; ".join(dict.fromkeys(changes)),
            not changes,
        )


def _client_callbacks(app: Dash) -> None:
    """Add the callbacks that run in the browser; see dashboard.js."""
    app.clientside_callback(
        ClientsideFunction("txray", "follow"),
        Output("main", "data-followed"),
        Input("url", "pathname"),
        Input("url", "search"),
        Input("controls", "data"),
        Input("version", "data"),
    )
    app.clientside_callback(
        ClientsideFunction("txray", "mount"),
        *(Output(f"{name}-slot", "children") for name in FIGURES),
        Input("url", "pathname"),
        Input("summary", "children"),
        State("cards", "data"),
        *(State(f"{name}-slot", "children") for name in FIGURES),
    )
    app.clientside_callback(
        ClientsideFunction("txray", "theme"),
        Output("theme", "data"),
        Input("theme-switch", "n_clicks"),
    )
    app.clientside_callback(
        ClientsideFunction("txray", "detail"),
        Output("detail", "data-shown"),
        Input("neuron-details", "data"),
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
            State("controls", "data"),
            prevent_initial_call=True,
        )
