"""What every place that keeps measurements of a training can do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import polars as pl


@runtime_checkable
class Logger(Protocol):
    """Takes what is measured while a model is trained.

    Names are paths with slashes, such as `txray/rnn/token/previous/changed`. Steps never fall.
    """

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Keep some numbers of one step."""

    def figure(self, name: str, figure: go.Figure, step: int) -> None:
        """Keep a figure of one step."""

    def table(self, name: str, table: pl.DataFrame, step: int) -> None:
        """Keep a table of one step."""

    def stage(self, folder: Path, step: int) -> None:
        """Keep a stage folder, as a whole."""

    def close(self) -> None:
        """Write down everything; nothing is logged afterwards."""
