"""Interface of loggers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import polars as pl


@runtime_checkable
class Logger(Protocol):
    """Receives the measurements of a training.

    Names are paths with slashes, such as `txray/rnn/token/previous/changed`. Steps never decrease.
    """

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Log the numbers of a step."""

    def figure(self, name: str, figure: go.Figure, step: int) -> None:
        """Log a figure of a step."""

    def table(self, name: str, table: pl.DataFrame, step: int) -> None:
        """Log a table of a step."""

    def stage(self, folder: Path, step: int) -> None:
        """Log a stage folder.

        Raises:
            StageError: not a complete stage folder.
        """

    def close(self) -> None:
        """Flush all data; nothing is logged afterwards."""
