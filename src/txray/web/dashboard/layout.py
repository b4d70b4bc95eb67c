"""Layout of the pages; callbacks and the page's script fill in what changes."""

from __future__ import annotations

from dash import dcc, html

from txray.web.dashboard.components import every_card, grid, slot, slots
from txray.web.dashboard.url_state import PAGES


def shell() -> html.Div:
    """Return the elements of all pages; one page is shown at a time."""
    return html.Div(
        [
            dcc.Location(id="url", refresh=False),
            dcc.Store(id="controls"),
            dcc.Store(id="theme"),
            dcc.Store(id="version", data=""),
            dcc.Store(id="neuron-details"),
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
                    html.Button("Switch to dark", id="theme-switch", type="button", className="quiet"),
                ],
                className="topbar",
            ),
            html.Form(
                id="stage-controls",
                className="controls stage-controls",
                **{"aria-label": "Stages", "data-controls": "stages"},
            ),
            html.Main(
                [
                    html.P(
                        "", id="job-status", className="job-status", role="status", **{"aria-live": "polite"}
                    ),
                    html.Div(id="warnings"),
                    html.Div(
                        [
                            html.Span("", id="changed-message"),
                            " ",
                            html.Button("Reload", id="reload", type="button"),
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
                        [html.H1("Sources of the numbers"), html.Div(id="sources")],
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
    """Return the overview: summary, filters, figures, and the table of neurons."""
    return html.Section(
        [
            html.H1("What changed between two stages", className="unseen"),
            html.Article("Reading the stages …", id="summary", className="pair", **{"aria-busy": "true"}),
            html.Form(id="filters", className="controls", role="search", **{"aria-label": "Neurons"}),
            html.Div(slots("overview"), className="cards"),
            html.H2("Neurons", id="neurons-heading"),
            html.P(
                [
                    html.Span("", id="neurons-count", role="status", **{"aria-live": "polite"}),
                    " Arrow keys move through the list, Enter opens a neuron. ",
                    html.A(
                        "Save as CSV",
                        href="/export/neurons.csv",
                        download="neurons.csv",
                        **{"data-export": "neurons"},
                    ),
                ],
                className="note",
            ),
            grid("neurons", "Neurons", "neurons-count"),
        ],
        id="page-overview",
        hidden=True,
    )


def neuron() -> html.Section:
    """Return the page of a neuron."""
    return html.Section(
        [
            html.H1("One neuron", className="unseen"),
            html.Form(id="neuron-controls", className="controls", **{"aria-label": "Neuron"}),
            html.P("", id="neuron-message", className="notice", hidden=True),
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
    """Return the page of a feature."""
    return html.Section(
        [
            html.H1("Which neurons respond to this word?", id="feature-heading"),
            html.Form(
                id="feature-controls", className="controls", role="search", **{"aria-label": "Feature"}
            ),
            html.Div(slots("feature"), className="cards"),
            html.Div(id="feature-rows"),
        ],
        id="page-feature",
        hidden=True,
    )


def matching() -> html.Section:
    """Return the page of two matched layers."""
    return html.Section(
        [
            html.H1("Find each neuron's counterpart"),
            html.P(
                "In another model, layer or training run, the number of a neuron means nothing. Neurons are paired "
                "by what they prefer.",
                className="lead",
            ),
            html.Form(id="layer-controls", className="controls", **{"aria-label": "Layers"}),
            html.Div(slots("matching"), className="cards"),
            html.P(
                html.Span("", id="pairs-count", role="status", **{"aria-live": "polite"}), className="note"
            ),
            grid("pairs", "Pairs of neurons", "pairs-count"),
        ],
        id="page-matching",
        hidden=True,
    )
