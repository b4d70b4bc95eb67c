"""`txray similarity`: similarity of the layers of two models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from txray.cli import options
from txray.cli.option_groups import expand_option_groups

Measure = Literal[
    "cka", "cka_debiased", "procrustes", "best_match_before", "best_match_after", "one_to_one", "soft_match"
]


@expand_option_groups
def similarity(
    before: options.Model,
    after: Annotated[str, typer.Argument(help="Another model, or the same one again.", show_default=False)],
    text_options: options.TextOptions,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            help="Name or pattern, such as encoder.layer.*; repeat for several. By default rnn, or the MLP "
            "neurons of a transformer."
        ),
    ] = None,
    layer_after: Annotated[
        list[str] | None,
        typer.Option(help="Name or pattern in the second model; by default the same as --layer."),
    ] = None,
    max_words: options.MaxWords = None,
    measure: Annotated[Measure, typer.Option(help="Measure shown in the figure.")] = "cka",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the table and its summary.")
    ] = None,
    figure: options.OptionalFigureFile = None,
    memory: Annotated[
        float | None,
        typer.Option(help="Memory limit in GiB for the sums; half of the free memory by default."),
    ] = None,
    device: options.Device = "auto",
) -> None:
    """Compare the layers of two models by their activations on the same words."""
    from txray.analysis import LayerSimilarity
    from txray.capture.layer_similarity import layer_similarity
    from txray.cli.tables import print_table
    from txray.files import require_replaceable
    from txray.plots import layer_similarity as draw
    from txray.plots import save_figure
    from txray.training import device_of

    max_bytes = options.memory_in_bytes(memory)
    if out is not None:
        require_replaceable(out, (LayerSimilarity.SUMMARY_FILE,))
    models = [options.open_source(before).to(device_of(device))]
    models.append(models[0] if before == after else options.open_source(after).to(device_of(device)))
    result = layer_similarity(
        models[0],
        models[1],
        text_options.open(),
        layers=options.default_layers(layer or (), models[0]),
        layers_after=layer_after or (None if layer else options.default_layers((), models[1])),
        names=(model_name(before), model_name(after)),
        max_words=max_words,
        memory=max_bytes,
    )
    measures = [name for name in result.table.columns if not name.endswith("_chance")]
    chance = [name for name in result.table.columns if name not in measures]
    print_table(result.table.select(measures))
    typer.echo("By chance, with the words of one model permuted:")
    print_table(
        result.table.select("layer_before", "layer_after", *chance).rename(
            lambda name: name.removesuffix("_chance")
        )
    )
    typer.echo(f"{result.words:,} words read by both models")
    for reason, number in result.skipped.items():
        typer.echo(f"{number:,} skipped: {reason}")
    if out is not None:
        typer.echo(f"table in {result.save(out)}")
    if figure is not None:
        typer.echo(save_figure(draw(result, measure), figure))


def model_name(model: str) -> str:
    """Return the name of a model in tables: its folder and the one above, which distinguishes snapshots."""
    folder = Path(model)
    return "/".join((folder.resolve() if folder.exists() else folder).parts[-2:])
