"""Components that several pages share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

from dash import dcc, html
from markupsafe import Markup

from txray.web.dashboard.figures import FIGURES, Figure

GRAPH = {
    "displaylogo": False,
    "showSendToCloud": False,
    "typesetMath": False,
    "modeBarButtonsToRemove": ["toImage", "autoScale2d", "zoomIn2d", "zoomOut2d"],
    "doubleClickDelay": 400,
}
"""Configuration of plotly; figures are saved by the page itself, with their captions."""

BLANK: Mapping[str, Any] = {
    "data": [],
    "layout": {
        "height": 40,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "xaxis": {"visible": False},
        "yaxis": {"visible": False},
    },
}
"""An empty figure for either theme."""


def card(name: str, figure: Figure) -> html.Figure:
    """Return the card of a figure: finding, figure, note on how to read it, and links to save it."""
    heading = f"{name}-finding"
    graph = dcc.Graph(
        id=f"{name}-figure",
        config=GRAPH,
        responsive=True,
        figure={
            "data": [],
            "layout": {"height": 330, "xaxis": {"visible": False}, "yaxis": {"visible": False}},
        },
    )
    return html.Figure(
        [
            html.P(figure.title, className="eyebrow"),
            html.H3("…", id=heading, className="finding"),
            html.Div(
                graph,
                className="plot",
                role="group",
                tabIndex=0,
                **{"aria-labelledby": heading},
            ),
            html.P("", id=f"{name}-problem"),
            html.Figcaption("", id=f"{name}-note"),
            _save(name, figure.title),
        ],
        className="card wide" if figure.wide else "card",
        id=f"{name}-card",
    )


def _save(name: str, title: str) -> html.Details:
    images = [
        html.Button(file_format.upper(), type="button", **{"data-save": file_format, "data-figure": name})
        for file_format in ("png", "svg")
    ]
    files = [
        html.A(
            file_format.upper(),
            href=f"/export/{name}.{file_format}",
            download=f"{name}.{file_format}",
            **{"data-export": name},
        )
        for file_format in ("html", "csv")
    ]
    return html.Details(
        [
            html.Summary("Save", **{"aria-label": f"Save: {title}"}),
            html.Div([*images, *files], className="saves"),
        ],
        className="save",
    )


def slot(name: str) -> html.Div:
    """Return an empty element, which the page's script replaces by the card of a figure once its page is shown.

    Loading plotly.js keeps a browser busy for a second or more, so texts and tables come first.
    """
    return html.Div(id=f"{name}-slot", className="slot")


def slots(page: str) -> list[html.Div]:
    """Return the slots of a page, in order."""
    return [slot(name) for name, figure in FIGURES.items() if figure.page == page]


def every_card() -> dict[str, Any]:
    """Return name -> card of every figure, as plain values that the page's script puts into the slots."""
    from plotly.io.json import to_json_plotly

    cards: dict[str, Any] = json.loads(
        to_json_plotly({name: card(name, figure) for name, figure in FIGURES.items()})
    )
    return cards


def grid(name: str, label: str, caption: str) -> html.Div:
    """Return the element of a long table, which the page's script fills; `caption` is the id of the number of rows."""
    return html.Div(
        html.Table(
            [
                html.Thead(html.Tr(id=f"{name}-head")),
                html.Tbody(id=f"{name}-body"),
            ],
            id=f"{name}-table",
            className="neurons",
            role="grid",
            tabIndex=0,
            **{"aria-label": label, "aria-describedby": caption},
        ),
        className="list",
        id=f"{name}-view",
    )


def table(heads: list[str], rows: list[list[Any]], label: str) -> html.Div:
    """Return a small table, which scrolls if it is wider than the screen; the first cell of a row is its head."""
    return html.Div(
        html.Table(
            [
                html.Thead(html.Tr([html.Th(head, scope="col") for head in heads])),
                html.Tbody(
                    [
                        html.Tr([html.Th(row[0], scope="row"), *(html.Td(cell) for cell in row[1:])])
                        for row in rows
                    ]
                ),
            ]
        ),
        className="scroll over",
        tabIndex=0,
        role="region",
        **{"aria-label": label},
    )


def stage_label(name: str, color: str) -> html.Span:
    """Return the name of a stage with its colour."""
    return html.Span(
        [html.Span(className="dot", style={"background": color}), html.Bdi(name)], className="stage"
    )


def from_html(markup: Markup) -> list[Any]:
    """Return the elements of a template's HTML as components."""
    parser = _Components()
    parser.feed(markup)
    parser.close()
    return parser.children[0]


class _Components(HTMLParser):
    """Builds components; `children` holds those of every open element, and of the whole."""

    def __init__(self) -> None:
        super().__init__()
        self.children: list[list[Any]] = [[]]
        self._attributes: list[dict[str, Any]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes: dict[str, Any] = {{"class": "className"}.get(name, name): value for name, value in attrs}
        if "style" in attributes:
            attributes["style"] = dict(rule.split(":", 1) for rule in attributes["style"].split(";"))
        self._attributes.append(attributes)
        self.children.append([])

    def handle_endtag(self, tag: str) -> None:
        element = getattr(html, tag.capitalize())(self.children.pop(), **self._attributes.pop())
        self.children[-1].append(element)

    def handle_data(self, data: str) -> None:
        # Line ends of the template are no text.
        if data.strip() or "\n" not in data:
            self.children[-1].append(data)
