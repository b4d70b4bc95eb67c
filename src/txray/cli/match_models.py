"""`txray match-models`: corresponding neurons of two models that read the same text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from txray.cli import options
from txray.cli.option_groups import expand_option_groups


@expand_option_groups
def match_models(
    before: options.Model,
    after: Annotated[str, typer.Argument(help="Another model.", show_default=False)],
    text_options: options.TextOptions,
    by: Annotated[
        Literal["activation", "ablation"],
        typer.Option(
            help="activation: what neurons respond to; ablation: what their ablation changes in the predictions, which "
            "reads the text once for each neuron."
        ),
    ] = "activation",
    layer: Annotated[str, typer.Option(help="Layer of the first model.")] = "rnn",
    layer_after: Annotated[
        str | None, typer.Option(help="Layer of the second model; by default the same as --layer.")
    ] = None,
    max_words: options.MaxWords = None,
    max_documents: Annotated[
        int | None, typer.Option(help="Maximum number of documents, with --by ablation.")
    ] = None,
    false_match_rate: Annotated[
        float, typer.Option(help="Share of the matches that may be due to chance, on average.")
    ] = 0.05,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the table of pairs and its summary.")
    ] = None,
    figure: options.OptionalFigureFile = None,
    device: options.Device = "auto",
) -> None:
    """Match the neurons of two models by their activations, or their ablations, on the same text."""
    from txray.analysis import ModelMatching
    from txray.cli.similarity import model_name
    from txray.files import require_replaceable
    from txray.plots import match_strength, save_figure
    from txray.pruning import match_models as match
    from txray.training import device_of

    if out is not None:
        require_replaceable(out, (ModelMatching.SUMMARY_FILE,))
    models = [options.open_source(before).to(device_of(device))]
    models.append(models[0] if before == after else options.open_source(after).to(device_of(device)))
    matching = match(
        models[0],
        models[1],
        text_options.open(),
        by=by,
        layer=layer,
        layer_after=layer_after,
        names=(model_name(before), model_name(after)),
        max_words=max_words,
        max_documents=max_documents,
        false_match_rate=false_match_rate,
        seed=text_options.seed,
    )
    counts = matching.summary
    pairs = "1 pair matches" if counts["matched"] == 1 else f"{counts['matched']} pairs match"
    typer.echo(
        f"{pairs} by {by} ({matching.matched_share:.0%} of those possible), {counts['mutual']} of them mutual nearest "
        f"neighbours; {counts['unmatched-before']} neurons of {matching.before!r} and {counts['unmatched-after']} of "
        f"{matching.after!r} have no match; at most {100 * false_match_rate:g}% of the matches are expected to be "
        "due to chance"
    )
    if out is not None:
        typer.echo(f"pairs in {matching.save(out)}")
    if figure is not None:
        typer.echo(save_figure(match_strength(matching), figure))
