"""`txray similarity`: how alike the layers of two models are as wholes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from txray.cli import options
from txray.cli.figures import figure_path


def similarity(
    first: Annotated[
        str,
        typer.Argument(
            help="Snapshot folder, Hugging Face folder, or hf: and a name on its hub.", show_default=False
        ),
    ],
    second: Annotated[str, typer.Argument(help="Another one, or the same again.", show_default=False)],
    kind: options.Format,
    text: options.Text,
    split: options.Split = None,
    layer: Annotated[
        list[str],
        typer.Option("--layer", help="Name or pattern, such as encoder.layer.*; again for each."),
    ] = ["rnn"],  # noqa: B006
    layer_second: Annotated[
        list[str] | None,
        typer.Option("--layer-second", help="Of the second model; those of --layer by default."),
    ] = None,
    max_words: Annotated[
        int | None, typer.Option("--max-words", help="Read so many words; all by default.")
    ] = None,
    measure: Annotated[
        str,
        typer.Option(
            "--measure",
            help="What --figure draws: cka, cka_debiased, best_match_first, best_match_second or one_to_one.",
        ),
    ] = "cka",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Writes the table and its summary to this folder.")
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(
            "--figure", help="Draws a file: .html, .json, .png, .pdf or .svg.", callback=figure_path
        ),
    ] = None,
    memory: Annotated[
        float | None,
        typer.Option("--memory", help="GiB that the sums may take; half of what is free by default."),
    ] = None,
    tokenized: options.Tokenized = False,
    html: options.Html = False,
    seed: options.Seed = 0,
    device: options.Device = "auto",
) -> None:
    """Hold the layers of two models against each other, by their activations of the same words."""
    from txray.analysis import MEASURES
    from txray.analysis.layers.result import SUMMARY
    from txray.capture.layer_similarity import layer_similarity
    from txray.cli.tables import print_table
    from txray.errors import UnknownNameError, UsageError
    from txray.files import require_replaceable
    from txray.models import load_model
    from txray.plots import layer_similarity as draw
    from txray.plots import save_figure
    from txray.training import device_of

    if measure not in MEASURES:
        raise UnknownNameError.of("measure", measure, MEASURES)
    if memory is not None and not 0 < memory < 1e9:
        raise UsageError(f"--memory {memory}: give the GiB that the sums may take, such as 4")
    if out is not None:
        require_replaceable(out, (SUMMARY,))
    models = [load_model(first).to(device_of(device))]
    models.append(models[0] if first == second else load_model(second).to(device_of(device)))
    found = layer_similarity(
        models[0],
        models[1],
        options.open_corpus(kind, text, split, seed, tokenized=tokenized, html=html),
        layers=layer,
        layers_after=layer_second or None,
        names=(_name(first), _name(second)),
        max_words=max_words,
        memory=None if memory is None else int(memory * 2**30),
    )
    print_table(found.table)
    typer.echo(f"{found.words:,} words that both models read")
    for reason, number in found.skipped.items():
        typer.echo(f"{number:,} skipped: {reason}")
    if out is not None:
        typer.echo(f"table in {found.save(out)}")
    if figure is not None:
        typer.echo(save_figure(draw(found, measure), figure))


def _name(model: str) -> str:
    """What a model is called where it is shown: its folder, and the one above, which tells snapshots apart."""
    folder = Path(model)
    return "/".join((folder.resolve() if folder.exists() else folder).parts[-2:])
