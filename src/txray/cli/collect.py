"""`txray collect`: the stage of a model on a text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from txray.cli import options
from txray.cli.option_groups import expand_option_groups
from txray.cli.sharding import EngineOptions
from txray.errors import UsageError

if TYPE_CHECKING:
    from txray.preferences import Stage


@expand_option_groups
def collect(
    model: options.Model,
    text_options: options.TextOptions,
    out: options.Out,
    collect_options: options.CollectOptions,
    engine_options: EngineOptions,
    name: options.StageName = None,
    scales: Annotated[
        Path | None, typer.Option(help="Stage whose scales are used to standardize the activations.")
    ] = None,
    folds: Annotated[int, typer.Option(help="Number of folds (groups of documents) for the tests.")] = 16,
    exemplars: Annotated[
        int, typer.Option(help="Number of exemplars (strongest occurrences) stored per neuron.")
    ] = 8,
    checkpoint: Annotated[
        float, typer.Option(help="Seconds between checkpoints, from which a rerun resumes.")
    ] = 60.0,
    memory: Annotated[
        float | None,
        typer.Option(
            help="Memory limit in GiB for the selections all and threshold; most of the free memory by default."
        ),
    ] = None,
    autocast: Annotated[
        Literal["bfloat16", "float16"] | None,
        typer.Option("--autocast", help="Reduced precision: faster on some devices, less exact."),
    ] = None,
    output_tokens: Annotated[
        int,
        typer.Option(
            help="Number of tokens that each neuron of a language model promotes and suppresses most, to be stored."
        ),
    ] = 0,
    concepts: Annotated[
        list[str] | None,
        typer.Option(
            help="Feature type, such as pos, whose features are concepts to look for in neurons with txray rank; or "
            "some of its features, such as token=the,of. Repeat for several types."
        ),
    ] = None,
    save_activations: Annotated[
        Path | None,
        typer.Option(
            help="Folder that the activations are saved to, from which txray collect, layers and similarity can read "
            "them instead of the model."
        ),
    ] = None,
    activations_type: Annotated[
        Literal["float32", "float16", "bfloat16"] | None,
        typer.Option("--activations-type", help="Type of the saved numbers; that of the layer by default."),
    ] = None,
    activations_limit: Annotated[
        float | None, typer.Option(help="Maximum size of the saved activations in GiB.")
    ] = None,
    base: options.Base = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an existing stage.")] = False,
    device: options.Device = "auto",
) -> None:
    """Run a model over a text, and save the preferences of its neurons as a stage folder.

    If interrupted, rerun the command to resume from the last checkpoint.
    """
    from txray.activations import SaveActivations
    from txray.capture import collect as collect_stage
    from txray.cli.sharding import rank_device, shard_and_folder
    from txray.files import require_replaceable
    from txray.preferences.manifest import CHECKPOINT, MANIFEST
    from txray.training import device_of

    max_bytes = options.memory_in_bytes(memory)
    if not 0 <= checkpoint < float("inf"):
        raise UsageError(f"--checkpoint {checkpoint}: give a number of seconds, such as 60")
    engine = engine_options.open(device)
    name = name or out.name
    if save_activations is None and (activations_type is not None or activations_limit is not None):
        raise UsageError("--activations-type and --activations-limit need --save-activations")
    save = None
    if save_activations is not None:
        _, folder = shard_and_folder(engine_options.shard, save_activations)
        save = SaveActivations(
            folder,
            dtype=activations_type,
            max_bytes=options.memory_in_bytes(activations_limit, "--activations-limit"),
        )
    shard, out = shard_and_folder(engine_options.shard, out)
    if save is not None:
        stage_path, activations_path = out.resolve(), Path(save.folder).resolve()
        if stage_path.is_relative_to(activations_path) or activations_path.is_relative_to(stage_path):
            raise UsageError(
                f"--out {out} and --save-activations {save.folder}: one holds the other; name two separate folders"
            )
    require_replaceable(out, (MANIFEST, CHECKPOINT))
    if (out / MANIFEST).exists():
        if not replace:
            raise UsageError(f"{out}: already holds a stage; name another folder, or add --replace")
        (out / CHECKPOINT).unlink(missing_ok=True)
    corpus = text_options.open()
    if collect_options.max_words is not None:
        corpus = corpus.take_words(collect_options.max_words)
    if shard is not None:
        corpus = corpus.shard(*shard)
    # The workers of an engine move the model to their own devices.
    model_device = device_of("cpu" if engine is not None else device)
    run_device = rank_device(model_device, engine_options.shard)
    loaded = options.open_source(model, base).to(run_device)
    stage = collect_stage(
        loaded,
        collect_options.annotated(corpus),
        layers=collect_options.layers(loaded, str(run_device)),
        feature_types=collect_options.feature_type,
        selection=collect_options.selection,
        name=name,
        folds=folds,
        exemplars=exemplars,
        scales=scales,
        checkpoint=out,
        checkpoint_seconds=checkpoint,
        memory=max_bytes,
        autocast=autocast,
        output_tokens=output_tokens,
        engine=engine,
        save_activations=save,
        concepts=_concepts(concepts or ()),
    )
    stage.save(out)
    _print_counts(stage)
    typer.echo(f"stage in {out}")
    if save is not None:
        typer.echo(f"activations in {save.folder}")


def _concepts(given: Sequence[str]) -> dict[str, list[str] | None]:
    """Return the features of each feature type, None for all, from `pos` or `token=the,of`."""
    concepts: dict[str, list[str] | None] = {}
    for text in given:
        feature_type, equals, features = text.partition("=")
        if feature_type in concepts or (equals and not features):
            raise UsageError(f"--concepts {text}: give each feature type once, as in pos or token=the,of")
        concepts[feature_type] = features.split(",") if equals else None
    return concepts


def _print_counts(stage: Stage) -> None:
    manifest = stage.manifest
    typer.echo(f"{manifest['words']:,} words, {manifest['unknown_share']:.1%} unknown to the model")
    for layer, counts in manifest["layers"].items():
        lengths = stage[layer, stage.feature_types[0]].lengths()
        skipped = "".join(f", {count:,} skipped: {reason}" for reason, count in counts["skipped"].items())
        typer.echo(
            f"layer {layer}: {int((lengths > 0).sum())} of {len(lengths)} neurons in use, "
            f"{counts['counted']:,} words counted{skipped}"
        )
