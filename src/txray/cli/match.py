"""`txray match`: which neuron of one model is which of another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from txray.cli import options
from txray.errors import UsageError


def match(
    before: options.StageFolder,
    after: options.StageFolder,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Writes the pairs there, as Parquet or CSV.")
    ] = None,
    feature_type: options.Feature = "token",
    layer: options.Layer = None,
    layer_after: Annotated[
        str | None, typer.Option("--layer-after", help="Of the second stage; that of --layer by default.")
    ] = None,
    weight: options.Weight = "mean",
    min_wins: Annotated[
        int, typer.Option("--min-wins", help="Neurons with fewer selected activations are left out.")
    ] = 20,
    false_match_rate: Annotated[
        float, typer.Option("--false-match-rate", help="Share of chance pairs that may count as matches.")
    ] = 0.05,
    seed: options.Seed = 0,
) -> None:
    """Match the neurons of two stages by what they prefer: other seeds, sizes, layers and models."""
    from txray.analysis import match as match_stages
    from txray.files import atomic_file
    from txray.preferences import Stage

    if out is not None and out.suffix not in (".parquet", ".csv"):
        raise UsageError(f"{out}: pairs are written as .parquet or .csv; name such a file")
    matching = match_stages(
        Stage.load(before),
        Stage.load(after),
        layer=layer,
        layer_after=layer_after,
        feature_type=feature_type,
        weight=weight,  # type: ignore[arg-type]  # the distributions check it
        min_wins=min_wins,
        false_match_rate=false_match_rate,
        seed=seed,
    )
    counts = matching.pairs["state"].value_counts()
    of_state = dict(counts.iter_rows())
    matched = matching.pairs.filter(matching.pairs["state"] == "matched")
    number = of_state.get("matched", 0)
    pairs = "1 pair matches" if number == 1 else f"{number} pairs match"
    typer.echo(
        f"{pairs} ({matching.matched_share:.0%} of those that could), "
        f"{int(matched['mutual'].sum())} of them mutual nearest neighbours; "
        f"{of_state.get('unmatched-before', 0)} neurons of {matching.before.stage!r} and "
        f"{of_state.get('unmatched-after', 0)} of {matching.after.stage!r} match none; rarer ones are left out"
    )
    low, high = (
        f"{end:.3f}" for end in (matching.thresholds.affinity.min(), matching.thresholds.affinity.max())
    )
    span = low if low == high else f"{low} to {high}, the longer the preferences, the lower"
    typer.echo(
        f"a match has an affinity above {span}, which {100 * false_match_rate:g}% of pairs reach by chance"
    )
    if out is not None:
        with atomic_file(out) as new:
            if out.suffix == ".csv":
                matching.pairs.write_csv(new)
            else:
                matching.pairs.write_parquet(new)
        typer.echo(f"pairs in {out}")
