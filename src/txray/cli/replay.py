"""`txray replay`: stages and timeline of a training, from its checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from txray.cli import options
from txray.cli.option_groups import expand_option_groups


@expand_option_groups
def replay(
    checkpoints: Annotated[
        list[Path],
        typer.Argument(
            help="Checkpoints in order: a training by txray, checkpoint-500 folders of transformers, .ckpt files of "
            "Lightning, or a folder that contains them.",
            show_default=False,
        ),
    ],
    text_options: options.TextOptions,
    out: options.Out,
    collect_options: options.CollectOptions,
    unit: Annotated[
        Literal["step", "epoch"] | None,
        typer.Option(
            "--unit",
            help="Unit that stages are numbered by; by default epoch for trainings by txray, else step.",
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            help="For Lightning checkpoints: the model that the weights belong to, as for 'txray collect'. For "
            "adapters: their base model, if it is not where their configuration says."
        ),
    ] = None,
    prefix: Annotated[
        str, typer.Option(help="For Lightning checkpoints: prefix of the names of the weights.")
    ] = "model.",
    logger: options.LoggerNames = None,
    weight: options.Weight = "mean",
    fdr: options.Fdr = 0.05,
    permutations: options.Permutations = 10_000,
    device: options.Device = "auto",
) -> None:
    """Collect a stage of every checkpoint of a training, and follow the neurons through them.

    If interrupted, rerun the command to resume; checkpoints saved since then are added. The result is what a tracker
    would have written during the training: stages in OUT/stages, tables in OUT/timeline.
    """
    from txray.cli.tables import print_timeline
    from txray.cli.through import layers_through
    from txray.tracking import CollectSpec, find_checkpoints
    from txray.tracking import replay as replay_training
    from txray.training import device_of

    layers = collect_options.layer
    if not layers:
        _, ordered = find_checkpoints(checkpoints, unit=unit, base=base, prefix=prefix)
        layers = options.default_layers([], ordered[0].load())
    spec = CollectSpec(
        collect_options.annotated(text_options.open()),
        layers_through(layers, collect_options.through, str(device_of(device))),
        collect_options.feature_type,
        collect_options.selection,
        collect_options.max_words,
    )
    timelines = replay_training(
        checkpoints,
        spec,
        out,
        unit=unit,
        base=base,
        prefix=prefix,
        device=str(device_of(device)),
        loggers=options.open_loggers(logger, out),
        weight=weight,
        fdr=fdr,
        permutations=permutations,
        seed=text_options.seed,
    )
    for feature_type, timeline in timelines.items():
        typer.echo(f"feature type {feature_type}:")
        print_timeline(timeline)
    typer.echo(f"stages and tables in {out}; view them with 'txray serve {out}'")
