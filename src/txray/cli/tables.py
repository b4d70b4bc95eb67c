"""Data frames as terminal tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from txray.text import escape_control

if TYPE_CHECKING:
    import polars as pl

    from txray.analysis import Timeline

_WHOLE = 10_000
"""Characters of a line that nobody looks at."""


def print_table(frame: pl.DataFrame) -> None:
    """Print a data frame to standard output; words of a corpus are shown as they are, markup included."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    is_terminal = Console().is_terminal
    # Into a file or a pipe lines go whole, so that names can be found and copied.
    console = Console(width=None if is_terminal else _WHOLE)
    headings = [name.replace("_", " ") if is_terminal else name for name in frame.columns]
    rows = [[escape_control(_shown(value)) for value in row] for row in frame.iter_rows()]
    table = Table()
    if _width(headings, rows) > console.width:
        # Lines between the columns would take the room that names need.
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading, dtype in zip(headings, frame.dtypes, strict=True):
        # Folded and not cut: the end of a layer's name tells it from others.
        table.add_column(escape(heading), justify="right" if dtype.is_numeric() else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)


def _width(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Characters of a table with lines, in which headings are broken between words, and cells are not."""
    lengths: list[list[int]] = [
        [max(map(len, heading.split()), default=0) for heading in headings],
        *([len(cell) for cell in row] for row in rows),
    ]
    return int(sum(max(column) for column in zip(*lengths, strict=True))) + 3 * len(headings) + 1


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def print_timeline(found: Timeline) -> None:
    """Print what became of the neurons: a row per stage, a row per step, and how scores went along."""
    import polars as pl

    from txray.analysis.findings import significant_label
    from txray.analysis.shown_distance import corrected_words

    stages = found.stages.select(
        "layer", "stage", "preferred", "length", "mass_gini", "half_mass", *found.scores
    )
    # Each from the stage of the row above.
    steps = found.changes.filter(found.changes["reference"] == "previous").rename({"after": "stage"})
    columns = ["layer", "stage", "shared", "avoided", "gained", "hellinger_corrected"]
    if found.fdr is not None:
        columns += ["tested", "changed", "confident_avoided", "confident_gained"]
    corrected = pl.Series([corrected_words(row) for row in steps.iter_rows(named=True)], dtype=pl.String)
    changes = steps.with_columns(hellinger_corrected=corrected).select(columns)
    for table in (stages, changes):
        print_table(table if len(found.steps) > 1 else table.drop("layer"))
    typer.echo(
        "states and changes: observed, not tested"
        if found.fdr is None
        else f"shared, avoided, gained: observed; changed, confident: {significant_label(found.fdr)}"
    )
    for name in found.steps:
        for score in found.scores:
            given = found.correlation(score, name)
            if given.rho is not None:
                typer.echo(f"layer {name}: {given.finding('neuron change', f'{score} change')}")
