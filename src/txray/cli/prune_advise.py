"""`txray prune advise`: how many neurons can be removed for a loss of at most so much."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from txray.cli import options
from txray.cli.option_groups import expand_option_groups
from txray.cli.prune_common import WHOLE
from txray.errors import UsageError

Metric = Literal["accuracy", "auroc", "perplexity"]


@expand_option_groups
def advise(
    model: Annotated[
        str,
        typer.Argument(
            help="Snapshot folder, or folder of a Hugging Face model with its head.", show_default=False
        ),
    ],
    source: options.SourceOptions,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the advice; see 'txray prune export'.")
    ],
    lose_at_most: Annotated[
        float,
        typer.Option(
            help="Percentage points of accuracy or AUROC, or percent of the perplexity, that may be lost."
        ),
    ] = 0.5,
    metric: Annotated[
        Metric | None,
        typer.Option(help="By default accuracy of a classifier, or perplexity of a language model."),
    ] = None,
    layer: Annotated[
        list[str],
        typer.Option(
            help="Layer to remove neurons from; repeat for several. By default rnn, or the MLP neurons of all blocks "
            "of a transformer."
        ),
    ] = [],  # noqa: B006
    heads: Annotated[
        bool, typer.Option("--heads", help="Also remove attention heads of all blocks.")
    ] = False,
    widths: Annotated[
        Literal["equal", "free"],
        typer.Option(
            help="equal: the same share of each layer, so that an exported transformer becomes smaller; free: the "
            "least important neurons of all layers."
        ),
    ] = "equal",
    each_layer: Annotated[
        bool, typer.Option("--each-layer", help="Test each layer alone, instead of all together.")
    ] = False,
    split: Annotated[
        str,
        typer.Option(
            help="Split of the text; half of its documents choose, the others verify. all: a text without splits."
        ),
    ] = "test",
    choose_split: Annotated[
        str | None,
        typer.Option(help="Split whose documents choose instead; all documents of --split then verify."),
    ] = None,
    confidence: Annotated[float, typer.Option(help="Confidence that no more is lost.")] = 0.95,
    max_documents: Annotated[
        int | None, typer.Option(help="Maximum number of documents; all by default.")
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(help="Maximum number of words per document; 400 for txray's classifiers by default."),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="Labels of the classes of a Hugging Face model, in the order of its outputs: neg,pos."
        ),
    ] = None,
    base: options.Base = None,
    device: options.Device = "auto",
) -> None:
    """Say how many neurons can be removed for a loss of at most so much, with confidence on held-out documents."""
    from txray.cli.tables import print_table
    from txray.files import require_replaceable
    from txray.models import TextModel, load_model
    from txray.models.folders import is_model_folder
    from txray.models.load import is_on_hub
    from txray.pruning import advise as advise_on
    from txray.pruning.advice import Advice
    from txray.pruning.removal_search import default_layers
    from txray.training import device_of

    require_replaceable(out, (Advice.SUMMARY_FILE,))
    head = is_on_hub(model) or is_model_folder(Path(model))
    loaded: Any = load_model(
        model, head=head, classes=classes.split(",") if classes and head else None, base=base
    ).to(device_of(device))
    text: Any = source.open_split(None if split == WHOLE else split)
    if choose_split is not None:
        text = {"choose": source.open_split(None if choose_split == WHOLE else choose_split), "verify": text}
    layers = layer or default_layers(loaded)
    if heads:
        if not isinstance(loaded, TextModel):
            raise UsageError("--heads: a recurrent model has no attention heads; leave the option out")
        layers = [*layers, *default_layers(loaded, ("attention heads",))]
    advice = advise_on(
        loaded,
        text,
        lose_at_most=lose_at_most,
        metric=metric,
        layers=layers,
        widths=widths,
        each_layer=each_layer,
        confidence=confidence,
        max_documents=max_documents,
        max_length=max_length,
        seed=source.seed,
    )
    print_table(advice.steps if len(advice.steps["layer"].unique()) > 1 else advice.steps.drop("layer"))
    print_table(advice.layers.drop("removed_neurons"))
    typer.echo(advice.sentence)
    advice.save(out)
    typer.echo(f"advice in {out}")
    if advice.layers["removed"].sum() and not (each_layer and len(advice.layers) > 1):
        typer.echo(f"smaller model: txray prune export {model} --advice {out} --out smaller")
