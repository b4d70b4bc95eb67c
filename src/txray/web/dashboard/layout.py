"""What stands on each page; what changes is filled in by callbacks and by the page's script."""

from __future__ import annotations

from dash import dcc, html

from txray.web.dashboard.components import every_card, grid, slot, slots
from txray.web.dashboard.url_state import PAGES


def shell() -> html.Div:
    """Everything of every page; one of them is shown at a time."""
    return html.Div(
        [
            dcc.Location(id="url", refresh=False),
            dcc.Store(id="facts"),
            dcc.Store(id="theme"),
            dcc.Store(id="version", data=""),
            dcc.Store(id="record"),
            dcc.Store(id="cards", data=every_card()),
            dcc.Interval(id="tick", interval=1_000),
            html.A("Skip to the content", href="#main", className="skip"),
            html.Header(
                [
                    html.A([html.B("txray")], href="/", className="brand", **{"data-page": "overview"}),
                    html.Nav(
                        html.Ul(
                            [
                                html.Li(
                                    html.A(
                                        title,
                                        href="/" if page == "overview" else f"/{page}",
                                        **{"data-page": page},
                                    )
                                )
                                for page, title in PAGES.items()
                            ]
                        ),
                        **{"aria-label": "Pages"},
                    ),
                    html.Button("Dark", id="shade", type="button", className="quiet"),
                ],
                className="topbar",
            ),
            html.Form(
                id="chooser",
                className="controls chooser",
                **{"aria-label": "Stages", "data-controls": "chooser"},
            ),
            html.Main(
                [
                    html.P("", id="doing", className="doing", role="status", **{"aria-live": "polite"}),
                    html.Div(id="remarks"),
                    html.Div(
                        [
                            html.Span("", id="changed-told"),
                            " ",
                            html.Button("Load again", id="reload", type="button"),
                        ],
                        id="changed",
                        className="notice",
                        role="alert",
                        hidden=True,
                    ),
                    overview(),
                    neuron(),
                    feature(),
                    matching(),
                    html.Section(
                        [html.H1("Where the numbers come from"), html.Div(id="sources")],
                        id="page-sources",
                        hidden=True,
                    ),
                ],
                id="main",
                tabIndex=-1,
            ),
        ]
    )


def overview() -> html.Section:
    """Headline, filters, pictures, and the table that follows them."""
    return html.Section(
        [
            html.H1("What the neurons know", className="unseen"),
            html.Article("Reading the stages …", id="headline", className="pair", **{"aria-busy": "true"}),
            html.Form(id="filters", className="controls", role="search", **{"aria-label": "Neurons"}),
            html.Div(slots("overview"), className="cards"),
            html.H2("Neurons", id="neurons-heading"),
            html.P(
                [
                    html.Span("", id="found", role="status", **{"aria-live": "polite"}),
                    " Arrow keys walk through the list, Enter opens a neuron. ",
                    html.A(
                        "Save as CSV",
                        href="/export/neurons.csv",
                        download="neurons.csv",
                        **{"data-export": "neurons"},
                    ),
                ],
                className="note",
            ),
            grid("neurons", "Neurons", "found"),
        ],
        id="page-overview",
        hidden=True,
    )


def neuron() -> html.Section:
    """One neuron."""
    return html.Section(
        [
            html.H1("One neuron", className="unseen"),
            html.Form(id="which-neuron", className="controls", **{"aria-label": "Neuron"}),
            html.P("", id="neuron-say", className="notice", hidden=True),
            html.Div(
                [
                    html.Div(id="neuron-head", className="detail head"),
                    html.Div(
                        [
                            slot("neuron"),
                            html.Article(
                                id="detail",
                                className="detail",
                                tabIndex=-1,
                                **{"aria-label": "Details of the neuron"},
                            ),
                        ],
                        className="stack",
                    ),
                    html.Div(
                        [
                            slot("timeline"),
                            html.Section(id="nearest", className="card"),
                            html.Section(id="pruned", className="card", hidden=True),
                        ],
                        className="stack",
                    ),
                ],
                className="one-neuron",
                id="one-neuron",
            ),
        ],
        id="page-neuron",
        hidden=True,
    )


def feature() -> html.Section:
    """One feature."""
    return html.Section(
        [
            html.H1("Which neurons prefer it?", id="feature-heading"),
            html.Form(id="which-feature", className="controls", role="search", **{"aria-label": "Feature"}),
            html.Div(slots("feature"), className="cards"),
            html.Div(id="feature-rows"),
        ],
        id="page-feature",
        hidden=True,
    )


def matching() -> html.Section:
    """Two layers matched."""
    return html.Section(
        [
            html.H1("Which neuron is which?"),
            html.P(
                "Where the number of a neuron means nothing, in another model, layer or training, neurons are paired "
                "by what they prefer.",
                className="lead",
            ),
            html.Form(id="which-layers", className="controls", **{"aria-label": "Layers"}),
            html.Div(slots("matching"), className="cards"),
            html.P(
                html.Span("", id="pairs-found", role="status", **{"aria-live": "polite"}), className="note"
            ),
            grid("pairs", "Pairs of neurons", "pairs-found"),
        ],
        id="page-matching",
        hidden=True,
    )
