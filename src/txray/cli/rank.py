"""`txray rank`: the neurons that mark a concept best."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from txray.cli import options
from txray.errors import UsageError

if TYPE_CHECKING:
    import polars as pl


def rank(
    stage: options.StageFolder,
    after: Annotated[
        Path | None,
        typer.Argument(help="Stage folder of a later stage: shows which concepts moved to which neurons."),
    ] = None,
    feature_type: Annotated[
        str,
        typer.Option(
            help="Type of the concepts: one of those that the stage was collected with as --concepts."
        ),
    ] = "pos",
    feature: Annotated[
        list[str] | None,
        typer.Option(
            help="Concept, such as NN; repeat for several. By default the best neuron of every concept."
        ),
    ] = None,
    layer: Annotated[
        str | None, typer.Option(help="Name of the layer; all layers together by default.")
    ] = None,
    top: Annotated[int, typer.Option(help="Number of neurons shown per concept.")] = 10,
    fdr: Annotated[float, typer.Option(help="False discovery rate of significant neurons.")] = 0.05,
    table: Annotated[
        Path | None,
        typer.Option(
            callback=options.file_of_type(options.TABLE_FILES),
            help=f"File for the table of all neurons: {', '.join(options.TABLE_FILES)}.",
        ),
    ] = None,
    figure: options.OptionalFigureFile = None,
    seed: options.Seed = 0,
) -> None:
    """Rank the neurons of a stage by how well their activations tell a concept from everything else.

    The stage must have been collected with --concepts. Neither the model nor the text is needed.
    """
    from txray.analysis import rank_neurons
    from txray.cli.tables import print_table
    from txray.plots import save_figure

    if top < 1:
        raise UsageError(f"--top {top}: give a whole number of at least 1")
    ranking = rank_neurons(stage, layer=layer, feature_type=feature_type, feature=feature, fdr=fdr, seed=seed)
    first = feature[0] if feature and len(feature) == 1 else None
    if after is None:
        for name in feature or ():
            concept = ranking.concepts.filter(feature=name).row(0, named=True)
            typer.echo(
                f"{name}: {concept['words']:,} words ({concept['share']:.2%}); {concept['significant']:,} of "
                f"{concept['tested']:,} neurons significant ({100 * fdr:g}% FDR)"
            )
            print_table(_shown(ranking.top(name, top), ranking.layers))
        if not feature:
            print_table(_shown(ranking.concepts, ranking.layers))
        everything = ranking.neurons
        draw = partial(ranking.plot, first)
    else:
        shift = ranking.compare(
            rank_neurons(after, layer=layer, feature_type=feature_type, feature=feature, fdr=fdr, seed=seed)
        )
        for name in feature or ():
            rows = shift.neurons.filter(feature=name).head(top)
            columns = ["neuron", "rank_before", "rank_after", "auroc_before", "auroc_after"]
            columns += ["difference", "low", "high", "q_value"]
            rows = _rounded(rows.select(*(["layer"] if len(shift.layers) > 1 else []), *columns))
            print_table(rows.rename({"difference": "change"}))
        if not feature:
            columns = ["layer_before", "layer_after"] if len(shift.layers) == 1 else []
            print_table(_rounded(shift.concepts.drop(*columns, "tested")))
        everything = shift.neurons
        draw = partial(shift.plot, first)
    typer.echo("auroc: 1 or 0 if high or low activations mark the concept, 0.5 if they tell nothing")
    if table is not None:
        options.write_table(everything, table)
        typer.echo(f"table in {table}")
    if figure is not None:
        typer.echo(save_figure(draw(), figure))


def _shown(rows: pl.DataFrame, layers: tuple[str, ...]) -> pl.DataFrame:
    """Return the columns that fit on a terminal, rounded."""
    wanted = [
        *(["feature", "words"] if "words" in rows.columns else ["rank"]),
        *(["layer"] if len(layers) > 1 else []),
        *("neuron", "auroc", "low", "high", "average_precision", "selectivity"),
        *(["q_value"] if "q_value" in rows.columns else []),
    ]
    return _rounded(rows.select(wanted))


def _rounded(rows: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    # A q-value may be tiny, and must not become 0.
    return rows.with_columns(
        pl.col(pl.Float64).exclude("q_value").round(3), pl.col("^q_value$").round_sig_figs(2)
    )
