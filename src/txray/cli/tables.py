"""Data frames as tables on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from txray.text import escape_control

if TYPE_CHECKING:
    import polars as pl

    from txray.analysis import Decomposition, Timeline

_WHOLE = 10_000
"""Characters of a line that is not read on a terminal."""


def print_table(frame: pl.DataFrame) -> None:
    """Print a data frame to standard output; markup in words of a corpus is escaped."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    is_terminal = Console().is_terminal
    # Lines of a file or pipe are not wrapped, so that names can be searched and copied.
    console = Console(width=None if is_terminal else _WHOLE)
    headings = [name.replace("_", " ") if is_terminal else name for name in frame.columns]
    rows = [[escape_control(_shown(value)) for value in row] for row in frame.iter_rows()]
    table = Table()
    if _width(headings, rows) > console.width:
        # Lines between the columns would take space that names need.
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading, dtype in zip(headings, frame.dtypes, strict=True):
        # Folded, not cut: names of layers differ at their ends.
        table.add_column(escape(heading), justify="right" if dtype.is_numeric() else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)


def _width(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Return the width of a table with lines, with headings wrapped between words and cells not wrapped."""
    lengths: list[list[int]] = [
        [max(map(len, heading.split()), default=0) for heading in headings],
        *([len(cell) for cell in row] for row in rows),
    ]
    return int(sum(max(column) for column in zip(*lengths, strict=True))) + 3 * len(headings) + 1


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def print_timeline(timeline: Timeline) -> None:
    """Print a table of the stages, one of the steps between them, and correlations with the scores."""
    import polars as pl

    from txray.analysis.shown_distance import corrected_words, step_sizes
    from txray.analysis.states import significant_label

    stages = timeline.stages.select(
        "layer", "stage", "preferred", "length", "mass_gini", "half_mass", *timeline.scores
    )
    # Each compared with the stage of the row above.
    steps = timeline.changes.filter(timeline.changes["reference"] == "previous").rename({"after": "stage"})
    columns = ["layer", "stage", "shared", "avoided", "gained", "hellinger_corrected"]
    if timeline.fdr is not None:
        sizes = [step_sizes(row) for row in steps.iter_rows(named=True)]
        by, detectable = (pl.Series(column, dtype=pl.String) for column in zip(*sizes, strict=True))
        steps = steps.with_columns(changed_by=by, detectable=detectable)
        columns += ["tested", "changed", "changed_by", "detectable", "confident_avoided", "confident_gained"]
    corrected = pl.Series([corrected_words(row) for row in steps.iter_rows(named=True)], dtype=pl.String)
    changes = steps.with_columns(hellinger_corrected=corrected).select(columns)
    for table in (stages, changes):
        print_table(table if len(timeline.steps) > 1 else table.drop("layer"))
    typer.echo(
        "states and changes: observed, not tested"
        if timeline.fdr is None
        else f"shared, avoided, gained: observed; changed, confident: "
        f"{significant_label(timeline.fdr, timeline.min_effect)}; changed by: their median corrected distance; "
        "detectable: distance found in half of the neurons; FDR "
        + ("over all layers and pairs of stages" if timeline.family == "all" else "over each layer and step")
    )
    for sentence in timeline.weights:
        typer.echo(escape_control(sentence))
    for name in timeline.steps:
        for score in timeline.scores:
            correlation = timeline.correlation(score, name)
            if correlation.rho is not None:
                typer.echo(f"layer {name}: {correlation.finding('neuron change', f'{score} change')}")


def print_decomposition(result: Decomposition) -> None:
    """Print a table of the margins, and the findings of each layer in words."""
    import polars as pl

    from txray.analysis.shown_distance import corrected_words

    rows = [
        {
            "layer": row["layer"],
            "effect": result.margin_name(row["margin"]),
            "distance (95% interval)": corrected_words(row),
            "p": row["p_value"],
            "significant": f"{row['significant']} of {row['tested']}",
        }
        for row in result.margins.iter_rows(named=True)
    ]
    table = pl.DataFrame(rows)
    print_table(table if len(result.layers) > 1 else table.drop("layer"))
    for layer in result.layers:
        prefix = f"layer {layer}: " if len(result.layers) > 1 else ""
        typer.echo(escape_control(prefix + " ".join(result.sentences(layer)[1:])))
