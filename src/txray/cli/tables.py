"""Data frames as terminal tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from txray.printable import printable

if TYPE_CHECKING:
    import polars as pl

    from txray.transfer import Timeline

_WHOLE = 10_000
"""Characters of a line that nobody looks at."""


def print_table(frame: pl.DataFrame) -> None:
    """Print a data frame to standard output; words of a corpus are shown as they are, markup included."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    for name, dtype in frame.schema.items():
        # Folded and not cut: the end of a layer's name tells it from others.
        table.add_column(escape(name), justify="right" if dtype.is_numeric() else "left", overflow="fold")
    for row in frame.iter_rows():
        table.add_row(*(escape(printable(_shown(value))) for value in row))
    # Into a file or a pipe lines go whole, so that names can be found and copied.
    Console(width=None if Console().is_terminal else _WHOLE).print(table)


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def print_timeline(found: Timeline) -> None:
    """Print what became of the neurons: a row per stage, a row per step, and how scores went along."""
    told = found.stages.select(
        "layer", "stage", "preferred", "length", "mass_gini", "half_mass", *found.scores
    )
    print_table(told)
    steps = found.changes.filter(found.changes["reference"] == "previous")
    columns = ("layer", "before", "after", "shared", "hellinger", "hellinger_sq_cv", "tested", "changed")
    print_table(steps.select(*columns, "confident_avoided", "confident_gained"))
    for name in found.steps:
        for score in found.scores:
            given = found.correlation(score, name)
            if given.rho is not None and given.p_value is not None:
                typer.echo(
                    f"layer {name}: rank correlation of change with change of {score} {given.rho:.2f} "
                    f"(p = {given.p_value:.2g}), {given.without_trend}"
                )
