"""TensorBoard: scalars, figures as images, tables and stages as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from txray._optional import import_extra
from txray.errors import OutputError, UsageError, warn_user
from txray.plots.export import to_pngs
from txray.tracking.loggers.facts import facts_table, stage_facts
from txray.tracking.loggers.tables import markdown_table, markdown_text

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import polars as pl


class TensorBoardLogger:
    """Logs to a folder of TensorBoard; needs the extra `tensorboard`, and a Chromium or Chrome for figures.

    TensorBoard has no plotly figures and no tables: figures become PNG images, tables their first rows as text, and a
    stage its path and key facts. TensorBoard stores scalars in single precision.

    Attributes:
        writer: the `SummaryWriter`.
    """

    def __init__(self, target: Any) -> None:
        """Log to a folder or to an existing writer.

        Args:
            target: a folder, created if it does not exist; or a `SummaryWriter`, which `close` leaves open.

        Raises:
            UsageError: tensorboard or kaleido is missing.
        """
        # tensorboard first: if it is missing, the error of torch does not say so.
        purpose = "logging to TensorBoard needs"
        import_extra(purpose, "tensorboard", "tensorboard", "kaleido")
        self._opened_writer = isinstance(target, str | Path)
        if self._opened_writer:
            target = import_extra(purpose, "tensorboard", "torch.utils.tensorboard").SummaryWriter(
                str(target)
            )
        self.writer = target
        self._warned = False
        self._waiting: dict[str, go.Figure] = {}
        self._step = 0

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Log the numbers of a step, infinite and NaN included."""
        for name, value in values.items():
            self.writer.add_scalar(name, float(value), step)

    def figure(self, name: str, figure: go.Figure, step: int) -> None:
        """Log a figure of a step as an image, rendered with the others of its step because a browser starts slowly.

        Without a browser, each image is replaced by a text, with one warning; training continues.
        """
        if step != self._step or name in self._waiting:
            self._draw()
        self._step = step
        self._waiting[name] = figure

    def table(self, name: str, table: pl.DataFrame, step: int) -> None:
        """Log the first 100 rows of a table as text, with the total number of rows."""
        self.writer.add_text(name, markdown_table(table), step)

    def stage(self, folder: Path, step: int) -> None:
        """Log the path and key facts of a stage folder, and render the figures so far; the folder is not copied."""
        self._draw()
        self.writer.add_text("txray/stage", markdown_table(facts_table(stage_facts(folder))), step)

    def close(self) -> None:
        """Flush all data, and close the writer if this logger opened it."""
        self._draw()
        self.writer.flush()
        if self._opened_writer:
            self.writer.close()

    def _draw(self) -> None:
        waiting, self._waiting = self._waiting, {}
        if waiting:
            self._log_images(waiting)

    def _log_images(self, figures: Mapping[str, go.Figure]) -> None:
        """Render figures of one step together, and if that fails, one by one."""
        import numpy as np
        from PIL import Image

        try:
            contents = to_pngs(figures)
        except UsageError as error:
            self._log_failure(figures, error)
        except OutputError as error:
            if len(figures) == 1:
                self._log_failure(figures, error)
            else:
                for name, figure in figures.items():
                    self._log_images({name: figure})
        else:
            for name, content in zip(figures, contents, strict=True):
                with Image.open(BytesIO(content)) as image:
                    pixels = np.asarray(image.convert("RGB"))
                self.writer.add_image(name, pixels, self._step, dataformats="HWC")

    def _log_failure(self, figures: Iterable[str], error: Exception) -> None:
        """Log a text instead of figures that could not be rendered, and warn the first time."""
        for name in figures:
            self.writer.add_text(name, markdown_text(str(error)), self._step)
        if not self._warned:
            warn_user(f"TensorBoard gets no images: {error}")
        self._warned = True
