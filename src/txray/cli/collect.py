"""`txray collect`: from a model and a text to a stage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from txray.cli import annotate, options
from txray.errors import UsageError


def collect(
    model: Annotated[
        str,
        typer.Argument(
            help="Snapshot folder, Hugging Face folder, or hf: and a name on its hub.", show_default=False
        ),
    ],
    kind: options.Format,
    text: options.Text,
    out: options.Out,
    name: Annotated[
        str | None, typer.Option("--name", help="Of the stage; the name of --out by default.")
    ] = None,
    split: options.Split = None,
    layer: options.Layers = ["rnn"],  # noqa: B006
    feature_type: options.Features = ["token"],  # noqa: B006
    selection: options.SelectionName = "max-1",
    tagger: options.TaggerFolder = None,
    lexicon: annotate.Lexicons = None,
    spacy: annotate.Pipelines = None,
    max_words: options.MaxWords = None,
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            help="3/8: every eighth document from the third; auto: as RANK and WORLD_SIZE of torchrun say, into a "
            "folder part-00002-of-00008 within --out. 'txray merge' joins the parts.",
        ),
    ] = None,
    scales: Annotated[
        Path | None, typer.Option("--scales", help="A stage whose scales standardize this one.")
    ] = None,
    folds: Annotated[
        int, typer.Option("--folds", help="Groups of documents, for the statistics of change.")
    ] = 16,
    exemplars: Annotated[int, typer.Option("--exemplars", help="Strongest occurrences kept per neuron.")] = 8,
    checkpoint: Annotated[
        float, typer.Option("--checkpoint", help="Seconds between checkpoints, from which a rerun goes on.")
    ] = 60.0,
    memory: Annotated[
        float | None,
        typer.Option(
            "--memory", help="GiB that tallies of all or threshold may take; most of what is free by default."
        ),
    ] = None,
    autocast: Annotated[
        str | None,
        typer.Option("--autocast", help="bfloat16 or float16: faster on some devices, less exact."),
    ] = None,
    engine: Annotated[
        str,
        typer.Option("--engine", help="single: this process; ray: workers of a Ray cluster (extra 'ray')."),
    ] = "single",
    workers: Annotated[
        int | None,
        typer.Option("--workers", help="Of --engine ray: processes that hold the model; 2 by default."),
    ] = None,
    shards: Annotated[
        int | None,
        typer.Option("--shards", help="Of --engine ray: parts of the text; four per worker by default."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option("--address", help="Of a running Ray cluster; else RAY_ADDRESS, else one is started."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a stage that is there already.")
    ] = False,
    tokenized: options.Tokenized = False,
    html: options.Html = False,
    seed: options.Seed = 0,
    device: options.Device = "auto",
) -> None:
    """Run a model over a text and keep what its neurons prefer, as a stage folder.

    Interrupted, the same command goes on where the last checkpoint was made.
    """
    from txray.capture import collect as collect_stage
    from txray.cli.parts import engine_of, rank_device, shard_and_folder
    from txray.files import require_replaceable
    from txray.models import load_model
    from txray.preferences import Stage
    from txray.preferences.manifest import CHECKPOINT, MANIFEST
    from txray.training import device_of

    if memory is not None and not 0 < memory < 1e9:
        raise UsageError(f"--memory {memory}: give the GiB that the tallies may take, such as 4")
    if not 0 <= checkpoint < float("inf"):
        raise UsageError(f"--checkpoint {checkpoint}: give the seconds between checkpoints, such as 60")
    carried_out = engine_of(engine, workers, shards, address, shard=shard, device=device)
    name = name or out.name
    part, out = shard_and_folder(shard, out)
    require_replaceable(out, (MANIFEST, CHECKPOINT))
    if (out / MANIFEST).exists():
        if not replace:
            raise UsageError(f"{out}: holds a stage already; name another folder, or add --replace")
        (out / CHECKPOINT).unlink(missing_ok=True)
    corpus = options.open_corpus(kind, text, split, seed, tokenized=tokenized, html=html)
    corpus = corpus if max_words is None else corpus.take(max_words)
    if part is not None:
        corpus = corpus.shard(*part)
    corpus = annotate.annotated(corpus, tagger, lexicon, spacy)
    # Workers take the model to devices of their own.
    where = device_of("cpu" if carried_out is not None else device)
    stage = collect_stage(
        load_model(model).to(rank_device(where, shard)),
        corpus,
        layers=layer,
        feature_types=feature_type,
        selection=selection,
        name=name,
        folds=folds,
        exemplars=exemplars,
        scales=None if scales is None else Stage.load(scales),
        checkpoint=out,
        checkpoint_seconds=checkpoint,
        memory=None if memory is None else int(memory * 2**30),
        autocast=autocast,
        engine=carried_out,
    )
    stage.save(out)
    manifest = stage.manifest
    typer.echo(f"{manifest['words']:,} words, {manifest['unknown_share']:.1%} unknown to the model")
    for layer_name, account in manifest["layers"].items():
        preferences = stage[layer_name, stage.feature_types[0]]
        preferred, n_neurons = int((preferences.lengths() > 0).sum()), preferences.n_neurons
        skipped = ", ".join(f"{count:,} skipped: {reason}" for reason, count in account["skipped"].items())
        typer.echo(
            f"layer {layer_name}: {preferred} of {n_neurons} neurons preferred, {account['counted']:,} words "
            f"counted{', ' + skipped if skipped else ''}"
        )
    typer.echo(f"stage in {out}")
