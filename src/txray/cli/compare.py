"""`txray compare`: changes of the neurons between two stages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from txray.cli import options
from txray.cli.option_groups import expand_option_groups


@expand_option_groups
def compare(
    before: options.StageFolder,
    after: options.StageFolder,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for neurons.parquet, neurons.csv and summary.json."),
    ] = None,
    feature_type: options.Feature = "token",
    layer: options.Layer = None,
    distance: Annotated[
        Literal["hellinger", "jensen-shannon", "total-variation"],
        typer.Option(
            "--distance", help="Distance between preferences; also to test with --statistic distance."
        ),
    ] = "hellinger",
    statistic: Annotated[
        Literal["chi-square", "distance"] | None,
        typer.Option(
            "--statistic",
            help="What is tested: what neurons select given how often features occur (the default), or the distance "
            "(the default if documents differ more than 2.5-fold in length).",
        ),
    ] = None,
    text_matched: Annotated[
        bool | None,
        typer.Option(
            "--text-matched/--no-text-matched",
            help="Test at equal text, by thinning features to the smaller number of occurrences; by default, if the "
            "stages read different texts.",
        ),
    ] = None,
    *,
    comparison_options: options.ComparisonOptions,
) -> None:
    """Compare two stages neuron by neuron: states, lengths, masses, distances, and significance."""
    import polars as pl

    from txray.analysis import Comparison
    from txray.analysis import compare as compare_stages
    from txray.analysis.shown_distance import CORRECTED, corrected_words
    from txray.analysis.test_facts import family_words, pairing_sentence
    from txray.analysis.totals import totals_sentence
    from txray.cli.tables import print_table
    from txray.files import require_replaceable
    from txray.text import escape_control

    if out is not None:
        require_replaceable(out, (Comparison.SUMMARY_FILE,))
    comparison = compare_stages(
        before,
        after,
        layer=layer,
        feature_type=feature_type,
        distance=distance,
        statistic=statistic,
        text_matched=text_matched,
        **vars(comparison_options),
    )
    rows = [
        (name, f"{value:.6g}" if isinstance(value, float) else str(value))
        for name, value in comparison.summary.items()
        if value is not None
    ]
    print_table(pl.DataFrame(rows, schema=["quantity", "value"], orient="row"))
    names = (escape_control(side.stage) for side in (comparison.before, comparison.after))
    typer.echo(" ".join(comparison.findings.sentences(*names)))
    if comparison.tested:
        typer.echo(
            escape_control(f"{pairing_sentence(comparison.summary)} {family_words(comparison.summary)}.")
        )
        if totals := totals_sentence(comparison):
            typer.echo(totals)
        typer.echo(f"{CORRECTED} of the layer (95% interval): {corrected_words(comparison.summary)}")
    if out is not None:
        comparison.save(out)
        typer.echo(f"table and summary in {out}")
