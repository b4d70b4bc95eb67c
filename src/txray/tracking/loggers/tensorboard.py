"""TensorBoard: scalars as they are, figures as pictures, tables and stages as text."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from txray.errors import OutputError, UsageError
from txray.extras import require
from txray.plots.export import to_png
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
        require(who, "tensorboard", "tensorboard", "kaleido")
        self._own = isinstance(place, str | Path)
        if self._own:
            place = require(who, "tensorboard", "torch.utils.tensorboard").SummaryWriter(str(place))
        self.writer = place
        self._told = False

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Keep some numbers of one step, also those that are not finite."""
        for name, value in values.items():
            self.writer.add_scalar(name, float(value), step)

    def figure(self, name: str, figure: go.Figure, step: int) -> None:
        """Keep a figure of one step as a picture.

        Where no browser is there to draw it, a warning says so once, and a text stands in its place: the
        training that is watched goes on.
        """
        import numpy as np
        from PIL import Image

        try:
            content = to_png(figure, name=name)
        except (UsageError, OutputError) as error:
            self.writer.add_text(name, markdown_text(str(error)), step)
            if not self._told:
                warnings.warn(f"TensorBoard gets no pictures: {error}", stacklevel=2)
            self._told = True
            return
        with Image.open(BytesIO(content)) as image:
            self.writer.add_image(name, np.asarray(image.convert("RGB")), step, dataformats="HWC")

    def table(self, name: str, table: pl.DataFrame, step: int) -> None:
        """Keep the first 100 rows of a table as text, and how many there are."""
        self.writer.add_text(name, markdown_table(table), step)

    def stage(self, folder: Path, step: int) -> None:
        """Tell where a stage folder is, and what it is of; the folder itself stays where it is.

        Raises:
            StageError: no complete stage folder.
        """
        self.writer.add_text("txray/stage", markdown_table(facts_table(stage_facts(folder))), step)

    def close(self) -> None:
        """Write down everything, and close the writer if it was opened here."""
        self.writer.flush()
        if self._own:
            self.writer.close()
