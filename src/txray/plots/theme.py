"""How every figure looks: colours, markers, frame, axes. The only place that decides it.

Colours are those of Okabe and Ito (safe for colour-blind eyes), continued with Paul Tol's muted set.
Colour never carries meaning alone: stages also differ by marker, states by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import plotly.graph_objects as go

from txray.errors import UnknownNameError
from txray.plots.subjects import checked_subjects

WIDTH = 1000
"""Pixels of a figure, frame included."""
PLOT_HEIGHT = 428
"""Pixels of the plotting area, so that a figure with a one-line title is about 600 high."""
LEFT, RIGHT = 84, 28
PLOT_WIDTH = WIDTH - LEFT - RIGHT
MARKS = 20_000
"""No figure draws more marks than a screen can show."""

INK = "#222222"
MUTED = "#666666"
FAINT = "#999999"
GRID = "#E6E6E6"
PAPER = "#FFFFFF"
FONT = "Arial, Liberation Sans, Helvetica, DejaVu Sans, sans-serif"

STATE_COLORS: Mapping[str, str] = {
    "shared": "#999999",
    "avoided": "#E69F00",
    "gained": "#56B4E9",
    "unpreferred": "#E6E6E6",
    "undecided": "#BBBBBB",
    "displaced": "#CC79A7",
}
"""State of a neuron -> its colour."""

SHORTENED, LENGTHENED, UNCHANGED = STATE_COLORS["avoided"], STATE_COLORS["gained"], INK
"""Fewer features look like avoided neurons, more like gained ones."""

CHANGED, UNDECIDED, DISPLACED = "#D55E00", STATE_COLORS["undecided"], STATE_COLORS["displaced"]
"""Significant, not significant, and explained by another neuron."""

CHANGED_BY: Mapping[float, str] = {0.0: "#F0B98C", 0.1: "#E5853A", 0.3: CHANGED}
"""Distance by which significant neurons moved at least -> colour, the darkest for the largest."""

SEQUENTIAL = [
    [0.0, "#F7F7F7"],
    [0.25, "#C2DBEC"],
    [0.5, "#74AFD6"],
    [0.75, "#0072B2"],
    [1.0, "#002F4D"],
]
"""Little to much, for the cells of a matrix: one hue, lighter to darker, so that it survives grey print."""

SPLITS: Mapping[str, tuple[str, str, str]] = {
    "train": ("#888888", "circle", "dot"),
    "validation": ("#222222", "diamond", "solid"),
    "test": ("#CC79A7", "x", "dash"),
}
"""Split -> colour, marker, dash."""

LINES: tuple[tuple[str, str], ...] = (
    ("#D55E00", "circle"),
    ("#0072B2", "square"),
    ("#009E73", "diamond"),
    ("#AA4499", "triangle-up"),
    ("#E69F00", "x"),
    ("#332288", "cross"),
    ("#56B4E9", "triangle-down"),
    ("#999933", "star"),
    ("#882255", "hexagon"),
)
"""Colour and marker of lines that are no stages: matchings, rankings."""

_DARK: Mapping[str, str] = {
    PAPER: "#1B1D20",
    INK: "#ECEDED",
    MUTED: "#A2A6AD",
    FAINT: "#7C8087",
    GRID: "#35383D",
    UNDECIDED: "#6A6E75",
    "#444444": "#B9BDC4",
    "#0072B2": "#4FA3DC",
    "#332288": "#9C8CEB",
    "#882255": "#DB6FA3",
    "#AA4499": "#CF77C0",
    "#D9D9D9": "#4A4E55",
    "#C9C9C9": "#4A4E55",
    "#8A8A8A": "#7C8087",
    "#002F4D": "#D3ECFB",
    "#74AFD6": "#2F81B5",
    "#C2DBEC": "#1F4C69",
    "#F7F7F7": "#24272B",
    "#F0B98C": "#7D4A22",
    "#E5853A": "#B05C1B",
}
"""Colour on white -> colour on a dark ground; all other colours suit both."""


def darkened(figure: go.Figure) -> go.Figure:
    """Return a copy of a figure for a dark ground: every colour of the theme in its dark shade."""
    light = {color.lower(): dark for color, dark in {**_DARK, "white": _DARK[PAPER]}.items()}
    spans = re.compile("|".join(re.escape(color) for color in light if color.startswith("#")), re.IGNORECASE)

    def darken(text: str) -> str:
        return spans.sub(lambda match: light[match[0].lower()], text)

    def shade(value: Any) -> Any:
        if isinstance(value, dict):
            # Words for readers are not colours, even if they look like one.
            return {
                name: entry if name in _WORDS else darken(entry) if name == "shadow" else shade(entry)
                for name, entry in value.items()
            }
        if isinstance(value, list | tuple):
            return [shade(entry) for entry in value] if len(value) <= _MOST_COLORS else value
        if isinstance(value, str):
            if "style=" in value:
                return darken(value)
            return light.get(value.lower(), value)
        return value

    plain = figure.to_plotly_json()
    return go.Figure({"data": shade(plain["data"]), "layout": shade(plain["layout"])}, skip_invalid=True)


_WORDS = frozenset({"hovertext", "customdata", "x", "y", "z", "name", "legendgroup"})
_MOST_COLORS = 4_096

TITLE_SIZE, SUBTITLE_SIZE, SIZE, CAPTION_SIZE = 17, 13, 12, 11
"""Font sizes in pixels: title, subtitle and axis titles, everything else, caption."""


@dataclass(frozen=True, slots=True)
class StageStyle:
    """Color, symbol and line style of a stage in every figure.

    Attributes:
        color: as `#rrggbb`.
        symbol: plotly's name of the marker.
    """

    color: str
    symbol: str


_ROLES: Mapping[str, StageStyle] = {
    "early": StageStyle("#444444", "square"),
    "pretrained": StageStyle("#D55E00", "triangle-up"),
    "zero-shot": StageStyle("#009E73", "circle"),
    "supervised": StageStyle("#0072B2", "triangle-down"),
}
_FURTHER: tuple[StageStyle, ...] = (
    StageStyle("#AA4499", "diamond"),
    StageStyle("#332288", "cross"),
    StageStyle("#999933", "star"),
    StageStyle("#882255", "hexagon"),
)
# In this order: `unsupervised` also contains `supervised`, `pretrained` also `trained`.
_ROLE_NAMES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("early", re.compile(r"untrained|random|early|initial")),
    ("pretrained", re.compile(r"unsup|pre-?train|late\b|language.?model|\blm\b")),
    ("zero-shot", re.compile(r"zero")),
    ("supervised", re.compile(r"\bsup\b|supervis|fine-?tun|classif")),
)
_EPOCH = re.compile(r"epoch\D*(\d+)")


@checked_subjects
def stage_styles(names: Iterable[str]) -> dict[str, StageStyle]:
    """Give every stage a colour and a marker; the same list gives the same styles.

    Build it once from all stages of a report, in their order, and hand it to every figure: then a stage
    looks the same everywhere. Names that imply a role (untrained, unsup, zero-shot, sup, and their longer
    forms) get the role's style; of stages named by epochs, the first counts as early and the last as
    pretrained; all others continue the palette.

    Args:
        names: of the stages, in order; repeated names count once.
    """
    ordered = list(dict.fromkeys(names))
    styles: dict[str, StageStyle] = {}
    free = dict(_ROLES)

    def give(name: str, role: str) -> None:
        if name not in styles and role in free:
            styles[name] = free.pop(role)

    for name in ordered:
        for role, pattern in _ROLE_NAMES:
            if pattern.search(name.lower()):
                give(name, role)
                break
    epochs = sorted(
        (int(match[1]), name)
        for name in ordered
        if name not in styles and (match := _EPOCH.search(name.lower()))
    )
    if epochs and (len(epochs) > 1 or epochs[0][0] <= 1):
        give(epochs[0][1], "early")
    if epochs:
        give(epochs[-1][1], "pretrained")
    spare = _spare_styles(styles.values())
    for name in ordered:
        if name not in styles:
            styles[name] = next(spare)
    return {name: styles[name] for name in ordered}


def _spare_styles(taken: Iterable[StageStyle]) -> Iterator[StageStyle]:
    used = set(taken)
    palette = (*_FURTHER, *_ROLES.values())
    yield from (style for style in palette if style not in used)
    while True:  # beyond twelve stages only shapes are left: open markers, in the same colours
        yield from (StageStyle(style.color, f"{style.symbol}-open") for style in palette)


def styles_for(names: Iterable[str], styles: Mapping[str, StageStyle] | None) -> Mapping[str, StageStyle]:
    """Return the styles of a figure's stages: the caller's, or those of `stage_styles`.

    Raises:
        UnknownNameError: the caller's mapping lacks one of the stages.
    """
    ordered = list(names)
    if styles is None:
        return stage_styles(ordered)
    for name in ordered:
        if name not in styles:
            raise UnknownNameError.of("stage (build the styles from all stages)", name, styles)
    return styles


@cache
def template() -> go.layout.Template:
    """Return fonts, colours, grid and hover of every figure, on white for print."""
    axis = {
        "gridcolor": GRID,
        "linecolor": FAINT,
        "showline": True,
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": FAINT,
        "tickfont": {"size": SIZE, "color": INK},
        "title": {"font": {"size": SUBTITLE_SIZE, "color": INK}, "standoff": 8},
        "zeroline": False,
        "automargin": False,
    }
    layout = go.Layout(
        font={"family": FONT, "size": SIZE, "color": INK},
        paper_bgcolor=PAPER,
        plot_bgcolor=PAPER,
        colorway=[style.color for style in (*_ROLES.values(), *_FURTHER)],
        xaxis=axis,
        yaxis=axis,
        hoverlabel={
            "bgcolor": PAPER,
            "bordercolor": FAINT,
            "align": "left",
            "font": {"size": SIZE, "color": INK},
        },
        hovermode="closest",
        # Beside the picture and not over its title; without the button that uploads the data.
        modebar={
            "orientation": "v",
            "bgcolor": PAPER,
            "color": FAINT,
            "activecolor": INK,
            "remove": ["sendChartToCloud"],
        },
        dragmode="zoom",
    )
    return go.layout.Template(layout=layout)
