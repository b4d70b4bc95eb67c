"""Pieces of pages that stand on several of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dash import dcc, html

from txray.web.dashboard.figures import FIGURES, Figure

GRAPH = {
    "displaylogo": False,
    "showSendToCloud": False,
    "typesetMath": False,
    "modeBarButtonsToRemove": ["toImage", "autoScale2d", "zoomIn2d", "zoomOut2d"],
    "doubleClickDelay": 400,
}
"""How plotly behaves: saving is done beside the picture, with its words."""


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
"""A figure of nothing, on any ground."""


def card(name: str, figure: Figure) -> html.Figure:
    """A place for a picture: its finding as a heading, how to read it, the picture, and what it is saved as.

    Args:
        name: of the figure, for ids.
        figure: whose place it is.
    """
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
        html.Button(kind.upper(), type="button", **{"data-save": kind, "data-figure": name})
        for kind in ("png", "svg")
    ]
    files = [
        html.A(
            kind.upper(), href=f"/export/{name}.{kind}", download=f"{name}.{kind}", **{"data-export": name}
        )
        for kind in ("html", "csv")
    ]
    return html.Details(
        [
            html.Summary("Save", **{"aria-label": f"Save: {title}"}),
            html.Div([*images, *files], className="saves"),
        ],
        className="save",
    )


def slot(name: str) -> html.Div:
    """Where the place of a picture comes once its page is looked at and its words are there.

    Loading and starting plotly.js keeps a browser busy for a second or more, in which nothing else would appear.

    Args:
        name: of the figure, for ids.
    """
    return html.Div(id=f"{name}-slot", className="slot")


def slots(page: str) -> list[html.Div]:
    """The slots of a page, in order."""
    return [slot(name) for name, figure in FIGURES.items() if figure.page == page]


def every_card() -> dict[str, Any]:
    """Name of each figure -> its place, as the plain values that the page's script puts into its slot."""
    from plotly.io.json import to_json_plotly

    found: dict[str, Any] = json.loads(
        to_json_plotly({name: card(name, figure) for name, figure in FIGURES.items()})
    )
    return found


def grid(name: str, label: str, caption: str) -> html.Div:
    """A place for a long table, which the page's script fills.

    Args:
        name: for ids.
        label: what the rows are.
        caption: id of the element that tells how many there are.
    """
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
    """A small table that may be wider than the screen.

    Args:
        heads: of the columns.
        rows: of text or elements; the first of each is its head.
        label: what it holds.
    """
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


def word(text: str) -> html.Bdi:
    """A word of a corpus, kept from reordering its neighbours; text, whatever is in it."""
    return html.Bdi(text)


def stage_label(name: str, color: str) -> html.Span:
    """A stage's name with its colour."""
    return html.Span(
        [html.Span(className="dot", style={"background": color}), html.Bdi(name)], className="stage"
    )
