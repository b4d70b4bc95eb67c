"""A picture with its words: what a page shows, what is exported."""

from __future__ import annotations

from dataclasses import dataclass

import plotly.graph_objects as go
import polars as pl

from txray.plots.frame import add_frame, empty_figure, fit_panel, heading_height, headings
from txray.plots.theme import LEFT, PLOT_HEIGHT, darkened

HEIGHT = 330
"""Pixels of a panel's figure."""
NARROW = 560
"""Pixels that a panel has at least on a screen with room for two."""


@dataclass(frozen=True, eq=False)
class FigureCard:
    """A picture with its words.

    Attributes:
        figure: traces and axes, without a frame.
        finding: what it shows, with its number, as plain text.
        note: how to read it, as plain text.
        data: what is drawn, as a table.
        caption: where the numbers come from, as plain text.
        left, below: pixels that tick labels need left of and under the plotting area.
        height: of the figure on the screen.
    """

    figure: go.Figure
    finding: str
    note: str
    data: pl.DataFrame
    caption: str = ""
    left: int = 64
    below: int = 52
    height: int = HEIGHT

    @classmethod
    def empty(cls, finding: str, words: str) -> FigureCard:
        """Return a card that says why there is nothing to draw."""
        return cls(empty_figure(go.Figure(), words), finding, "", pl.DataFrame())

    def for_web(self, *, dark: bool) -> go.Figure:
        """Return the figure as the page shows it, as wide as the panel; `figure` is changed in place."""
        figure = fit_panel(self.figure, width=NARROW, height=self.height, left=self.left, below=self.below)
        # Zooming stays as long as the axes mean the same.
        figure.update_layout(uirevision="same", hovermode="closest")
        return darkened(figure) if dark else figure

    def for_export(self) -> go.Figure:
        """Return the figure with title and caption, on white."""
        return add_frame(
            go.Figure(self.figure),
            title=self.finding,
            subtitle=self.note,
            caption=self.caption,
            left=max(self.left, LEFT),
            below=self.below,
            plot_height=max(PLOT_HEIGHT, self.height - 100),
        )


@dataclass(frozen=True, eq=False)
class StyledFigure:
    """A picture that has its frame already, and a width of its own.

    Attributes:
        figure: from `txray.plots`.
        data: what is drawn, as a table.
    """

    figure: go.Figure
    data: pl.DataFrame

    @property
    def finding(self) -> str:
        """Return the title of the figure, as plain text."""
        return headings(self.figure.layout)[0]

    @property
    def note(self) -> str:
        """Return its subtitle, as plain text."""
        return headings(self.figure.layout)[1]

    def for_web(self, *, dark: bool) -> go.Figure:
        """Return the figure without its title, which the page shows above it."""
        figure, cut = go.Figure(self.figure), heading_height(self.figure.layout)
        top = figure.layout.margin.t - cut
        figure.update_layout(
            title=None, height=figure.layout.height - cut, margin={"t": top}, uirevision="same"
        )
        return darkened(figure) if dark else figure

    def for_export(self) -> go.Figure:
        """Return the figure unchanged."""
        return self.figure


Picture = FigureCard | StyledFigure
