"""The effects of ablation, and the verdicts on them, on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    import polars as pl

    from txray.pruning import Pruning


def print_verdicts(pruning: Pruning, smallest_effect: float | None) -> None:
    """Print the verdicts on all effects together, and the texts on which the model is at chance."""
    import polars as pl

    from txray.cli.tables import print_table
    from txray.pruning.chance import chance_note, levels_of
    from txray.pruning.multiplicity import verdict_counts
    from txray.pruning.verdicts import verdict_phrase

    table = pruning.verdicts(smallest_effect)
    if table["change_verdict"].is_not_null().any():
        # The change says what pruning costs, the comparison with random sets what the selection is worth.
        shown = table.select(
            "set", "split", "metric", pl.col("change").round(2), "change_verdict",
            pl.col("versus_random").round(2), pl.col("versus_random_detectable").round(2).alias("detectable"),
            "family_p_value", "versus_random_verdict",
        )  # fmt: skip
        print_table(shown if pruning.summary["n_random_sets"] else shown[:, :5])
    if pruning.effects["verdict"].is_not_null().any():
        typer.echo(f"effects: {verdict_counts(pruning.effects)}")
        typer.echo(
            f"all effects together (5% family-wise error, {pruning.summary['n_random_sets']} random sets): "
            f"{verdict_phrase(table)}; detectable: smallest difference, in points or percent, found with a probability "
            "of 80%"
        )
    for split, text in pruning.summary["texts"].items():
        note = chance_note(levels_of(text))
        if note:
            typer.echo(
                f"{split}: the unpruned model is not better than chance: {note}; changes of such metrics are "
                "meaningless"
            )


def print_effects(effects: pl.DataFrame, columns: list[str]) -> None:
    """Print a table with each difference and its interval in one cell."""
    import polars as pl

    from txray.cli.tables import print_table

    def with_interval(name: str) -> pl.Series:
        cells = [
            "-"
            if value is None
            else f"{value:+.4f}" + ("" if low is None else f" ({low:+.4f} to {high:+.4f})")
            for value, low, high in effects.select(name, f"{name}_low", f"{name}_high").iter_rows()
        ]
        return pl.Series(name, cells, dtype=pl.String)

    print_table(effects.with_columns(map(with_interval, ("change", "versus_random"))).select(columns))
