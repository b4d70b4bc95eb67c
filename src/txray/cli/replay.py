"""`txray replay`: the story of a training from the checkpoints that it left."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from txray.cli import annotate, options


def replay(
    checkpoints: Annotated[
        list[Path],
        typer.Argument(
            help="In order: a training of txray, folders checkpoint-500 of transformers or a folder of such, files "
            ".ckpt of Lightning or a folder of such.",
            show_default=False,
        ),
    ],
    kind: options.Format,
    text: options.Text,
    out: options.Out,
    split: options.Split = None,
    layer: options.Layers = ["rnn"],  # noqa: B006
    feature_type: options.Features = ["token"],  # noqa: B006
    selection: options.SelectionName = "max-1",
    tagger: options.TaggerFolder = None,
    lexicon: annotate.Lexicons = None,
    spacy: annotate.Pipelines = None,
    max_words: options.MaxWords = None,
    unit: Annotated[
        str | None,
        typer.Option(
            "--unit", help="step or epoch; epochs for txray's own trainings, else steps, by default."
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            help="For checkpoints of Lightning: a model, as for 'txray collect', that takes their weights.",
        ),
    ] = None,
    prefix: Annotated[
        str, typer.Option("--prefix", help="Begins the names of these weights in the checkpoint.")
    ] = "model.",
    logger: options.LoggerNames = None,
    weight: options.Weight = "mean",
    fdr: options.Fdr = 0.05,
    permutations: options.Permutations = 2_000,
    tokenized: options.Tokenized = False,
    html: options.Html = False,
    seed: options.Seed = 0,
    device: options.Device = "auto",
) -> None:
    """Collect a stage of every checkpoint of a training, and follow the neurons through them.

    Interrupted, the same command goes on where it stopped; checkpoints that have come since are added. The result is
    that of a tracker that watched the training: stages in OUT/stages, tables in OUT/timeline.
    """
    from txray.cli.tables import print_timeline
    from txray.models import load_model
    from txray.tracking import CollectSpec
    from txray.tracking import replay as replay_training
    from txray.training import device_of

    corpus = options.open_corpus(kind, text, split, seed, tokenized=tokenized, html=html)
    corpus = annotate.annotated(corpus, tagger, lexicon, spacy)
    found = replay_training(
        checkpoints,
        CollectSpec(corpus, layer, feature_type, selection, max_words),
        out,
        unit=unit,  # type: ignore[arg-type]  # the tracker checks it
        base=None if base is None else partial(load_model, base, head="saved"),
        prefix=prefix,
        device=str(device_of(device)),
        loggers=options.open_loggers(logger, out),
        weight=weight,
        fdr=fdr,
        permutations=permutations,
        seed=seed,
    )
    for name, story in found.items():
        typer.echo(f"feature {name}:")
        print_timeline(story)
    typer.echo(f"stages and tables in {out}; look at them with 'txray serve {out}'")
