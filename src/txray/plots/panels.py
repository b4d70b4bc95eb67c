"""Several plotting areas in one figure."""

from __future__ import annotations

from dataclasses import dataclass

from txray.plots import theme


@dataclass(frozen=True, slots=True)
class Panel:
    """One of several plotting areas of a figure: a rectangle in pixels from the top left corner.

    Attributes:
        left, top, width, height: in pixels, within the plotting area of the figure.
    """

    left: float
    top: float
    width: float
    height: float

    def domains(self, plot_height: float) -> tuple[list[float], list[float]]:
        """Return the x and y domains of plotly's axes, as shares of a plotting area of this height in pixels."""
        bottom = self.top + self.height
        return (
            [self.left / theme.PLOT_WIDTH, (self.left + self.width) / theme.PLOT_WIDTH],
            [max(0.0, 1 - bottom / plot_height), min(1.0, 1 - self.top / plot_height)],
        )


def tiled(n: int, columns: int, *, height: float, gap_across: float, gap_down: float) -> list[Panel]:
    """Return n panels of equal size, row by row, over the whole width; height and gaps in pixels."""
    width = (theme.PLOT_WIDTH - gap_across * (columns - 1)) / columns
    return [
        Panel((width + gap_across) * (i % columns), (height + gap_down) * (i // columns), width, height)
        for i in range(n)
    ]
