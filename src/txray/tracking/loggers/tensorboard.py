"""TensorBoard: scalars as they are, figures as pictures, tables and stages as text."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from txray._optional import import_extra
from txray.errors import OutputError, UsageError
from txray.plots.export import to_pngs
from txray.tracking.loggers.facts import facts_table, stage_facts
from txray.tracking.loggers.tables import markdown_table, markdown_text

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import polars as pl


class TensorBoardLogger:
    """Logs to a folder of TensorBoard; needs the extra `tensorboard`, and a Chromium or Chrome for figures.

    TensorBoard has no plotly figures and no tables: figures become PNG images, tables their first rows as text,
    and of a stage folder its path and key facts are told. Scalars are kept in single precision, as by everyone.

    Attributes:
        writer: the `SummaryWriter` that is written to.
    """

    def __init__(self, place: Any) -> None:
        """Write into a folder, or by a writer.

        Args:
            place: a folder, which is made; or a `SummaryWriter`, which stays open after `close`.

        Raises:
            UsageError: tensorboard or kaleido is missing.
        """
        # tensorboard itself first: where it is missing, torch's own error names none.
        who = "logging to TensorBoard needs"
        import_extra(who, "tensorboard", "tensorboard", "kaleido")
        self._own = isinstance(place, str | Path)
        if self._own:
            place = import_extra(who, "tensorboard", "torch.utils.tensorboard").SummaryWriter(str(place))
        self.writer = place
        self._told = False
        self._waiting: dict[str, go.Figure] = {}
        self._step = 0

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Keep some numbers of one step, also those that are not finite."""
        for name, value in values.items():
            self.writer.add_scalar(name, float(value), step)

    def figure(self, name: str, figure: go.Figure, step: int) -> None:
        """Keep a figure of one step as a picture: drawn with the others of its step, since a browser starts slowly.

        Where no browser is there to draw it, a warning says so once, and a text stands in its place: the
        training that is watched goes on.
        """
        if step != self._step or name in self._waiting:
            self._draw()
        self._step = step
        self._waiting[name] = figure

    def table(self, name: str, table: pl.DataFrame, step: int) -> None:
        """Keep the first 100 rows of a table as text, and how many there are."""
        self.writer.add_text(name, markdown_table(table), step)

    def stage(self, folder: Path, step: int) -> None:
        """Tell where a stage folder is, and what it is of; the folder itself stays where it is.

        The figures so far are drawn.

        Raises:
            StageError: no complete stage folder.
        """
        self._draw()
        self.writer.add_text("txray/stage", markdown_table(facts_table(stage_facts(folder))), step)

    def close(self) -> None:
        """Write down everything, and close the writer if it was opened here."""
        self._draw()
        self.writer.flush()
        if self._own:
            self.writer.close()

    def _draw(self) -> None:
        waiting, self._waiting = self._waiting, {}
        if waiting:
            self._keep(waiting)

    def _keep(self, figures: Mapping[str, go.Figure]) -> None:
        """Draw figures of one step; where they fail together, each on its own."""
        import numpy as np
        from PIL import Image

        try:
            contents = to_pngs(figures)
        except UsageError as error:
            self._keep_reason(figures, error)
        except OutputError as error:
            if len(figures) == 1:
                self._keep_reason(figures, error)
            else:
                for name, figure in figures.items():
                    self._keep({name: figure})
        else:
            for name, content in zip(figures, contents, strict=True):
                with Image.open(BytesIO(content)) as image:
                    pixels = np.asarray(image.convert("RGB"))
                self.writer.add_image(name, pixels, self._step, dataformats="HWC")

    def _keep_reason(self, figures: Iterable[str], error: Exception) -> None:
        """Keep a text in place of figures that could not be drawn, and warn the first time."""
        for name in figures:
            self.writer.add_text(name, markdown_text(str(error)), self._step)
        if not self._told:
            warnings.warn(f"TensorBoard gets no pictures: {error}", stacklevel=5)
        self._told = True
