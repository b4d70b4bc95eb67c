"""`txray match`: corresponding neurons of two stages."""

from __future__ import annotations

from typing import Annotated

import typer

from txray.cli import options


def match(
    before: options.StageFolder,
    after: options.StageFolder,
    out: options.TableFile = None,
    feature_type: options.Feature = "token",
    layer: options.Layer = None,
    layer_after: Annotated[
        str | None, typer.Option(help="Layer of the second stage; by default the same as --layer.")
    ] = None,
    weight: options.Weight = "mean",
    min_wins: Annotated[
        int,
        typer.Option(
            help="Minimum number of selected activations per neuron; neurons with fewer are left out."
        ),
    ] = 20,
    false_match_rate: Annotated[
        float, typer.Option(help="Share of the matches that may be due to chance, on average.")
    ] = 0.05,
    seed: options.Seed = 0,
) -> None:
    """Match the neurons of two stages by their preferences, across seeds, sizes, layers and models."""
    from txray.analysis import match as match_stages

    matching = match_stages(
        before,
        after,
        layer=layer,
        layer_after=layer_after,
        feature_type=feature_type,
        weight=weight,
        min_wins=min_wins,
        false_match_rate=false_match_rate,
        seed=seed,
    )
    counts = dict(matching.pairs["state"].value_counts().iter_rows())
    matched = matching.pairs.filter(matching.pairs["state"] == "matched")
    pairs = "1 pair matches" if len(matched) == 1 else f"{len(matched)} pairs match"
    typer.echo(
        f"{pairs} ({matching.matched_share:.0%} of those possible), "
        f"{int(matched['mutual'].sum())} of them mutual nearest neighbours; "
        f"{counts.get('unmatched-before', 0)} neurons of {matching.before.stage!r} and "
        f"{counts.get('unmatched-after', 0)} of {matching.after.stage!r} have no match; "
        "neurons with fewer activations than --min-wins are left out"
    )
    if len(matched):
        lowest, chance = (
            float(matched["affinity"].to_numpy().min()),
            float(matched["chance"].to_numpy().mean()),
        )
        typer.echo(
            f"at most {100 * false_match_rate:g}% of these matches are expected to be due to chance; lowest affinity "
            f"{lowest:.3f}, best of all candidates by chance {chance:.3f} on average"
        )
    if out is not None:
        options.write_table(matching.pairs, out)
        typer.echo(f"pairs in {out}")
