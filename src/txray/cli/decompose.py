"""`txray decompose`: the effect of the model, the effect of the text, and their interaction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from txray.cli import options
from txray.cli.option_groups import expand_option_groups
from txray.errors import UsageError

if TYPE_CHECKING:
    from txray.analysis import Decomposition


@expand_option_groups
def decompose(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Two models, before and after, as for txray collect. Or four stages that were collected already: the "
            "model before on both texts, then the model after on both.",
            show_default=False,
        ),
    ],
    text_format: Annotated[
        options.TextFormat | None,
        typer.Option("--format", "-f", help="Format of the texts; needed with two models."),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(
            "--text", "-t", help="First text: file or folder; for --format demo: encyclopedia or reviews."
        ),
    ] = None,
    text_b: Annotated[str | None, typer.Option("--text-b", help="Second text.")] = None,
    format_b: Annotated[
        options.TextFormat | None,
        typer.Option("--format-b", help="Format of the second text; by default that of the first."),
    ] = None,
    split: options.Split = None,
    split_b: Annotated[str | None, typer.Option("--split-b", help="Split of the second text.")] = None,
    tokenized: options.Tokenized = False,
    html: options.Html = False,
    names: Annotated[
        str, typer.Option(help="Names of the two models to show, with a comma between them.")
    ] = "A,B",
    text_names: Annotated[
        str | None,
        typer.Option(
            help="Names of the two texts to show, with a comma between them; by default those of the texts."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder for the four stages and the result; a rerun resumes there. Needed with two models.",
        ),
    ] = None,
    figure: options.OptionalFigureFile = None,
    device: options.Device = "auto",
    *,
    collect_options: options.CollectOptions,
    comparison_options: options.ComparisonOptions,
) -> None:
    """Tell apart what the model and what the text changes in the neurons: both models read both texts.

    If interrupted, rerun the command to resume.
    """
    from txray.analysis import Decomposition
    from txray.capture.decompose import decompose as decompose_models
    from txray.cli.tables import print_decomposition
    from txray.files import require_replaceable
    from txray.plots import decomposition as draw
    from txray.plots import save_figure
    from txray.training import device_of

    models = names.split(",")
    texts = None if text_names is None else text_names.split(",")
    settings = {"models": models, "texts": texts, **vars(comparison_options)}
    if out is not None:
        require_replaceable(out / RESULT, (Decomposition.SUMMARY_FILE,))
    if len(inputs) != 2:
        if text is not None or text_b is not None:
            raise UsageError(f"decompose: {len(inputs)} inputs and --text; name two models to read texts")
        result = Decomposition.of(
            [Path(folder) for folder in inputs],
            layers=collect_options.layer or None,
            feature_type=collect_options.feature_type[0],
            **settings,
        )
    else:
        if text_format is None or text is None or text_b is None or out is None:
            raise UsageError(
                "decompose: two models need --format, --text, --text-b and --out (or name four stage folders)"
            )
        first = options.TextOptions(text_format, text, tokenized, html, comparison_options.seed, split)
        second = (
            options.TextOptions(format_b, text_b, seed=comparison_options.seed, split=split_b)
            if format_b
            else options.TextOptions(
                text_format, text_b, tokenized, html, comparison_options.seed, split_b or split
            )
        )
        corpora = [collect_options.annotated(choice.open()) for choice in (first, second)]
        loaded = [options.open_source(model).to(device_of(device)) for model in inputs]
        result = decompose_models(
            loaded[0],
            loaded[1],
            corpora[0],
            corpora[1],
            layers=collect_options.layers(loaded[0], str(device_of(device))),
            feature_types=collect_options.feature_type,
            selection=collect_options.selection,
            max_words=collect_options.max_words,
            out=out,
            **settings,
        )
    print_decomposition(result)
    _write(result, out)
    if figure is not None:
        for layer in result.layers:
            path = figure if len(result.layers) == 1 else figure.with_stem(f"{figure.stem}-{layer}")
            typer.echo(save_figure(draw(result, layer), path))


RESULT = "decomposition"
"""Folder of the result, beside the stages."""


def _write(result: Decomposition, out: Path | None) -> None:
    if out is not None:
        typer.echo(f"result in {result.save(out / RESULT)}")
