"""`txray experiment` and `txray demo`: the whole story in one command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from txray.cli import options
from txray.errors import UsageError

if TYPE_CHECKING:
    from txray.experiment import Settings, Sources


def demo(
    out: options.Out = Path("out/demo"),
    seed: options.Seed = 0,
    device: options.Device = "auto",
) -> None:
    """Run the whole story on the embedded corpus: a few minutes, nothing to download."""
    from dataclasses import replace

    from txray.experiment import DemoSources, preset

    _run(replace(preset("demo"), seed=seed), DemoSources(seed), out, device)


def experiment(
    preset: Annotated[str, typer.Option("--preset", help="demo, small or paper.")],
    out: options.Out,
    wikitext: Annotated[
        Path | None, typer.Option("--wikitext", help="WikiText-2: folder, zip or file.")
    ] = None,
    imdb: Annotated[
        Path | None,
        typer.Option("--imdb", help="IMDB: aclImdb folder, its archive, or a folder with CSV files."),
    ] = None,
    conllu: Annotated[
        Path | None,
        typer.Option("--conllu", help="Treebank for the tagger: training file, or folder with the splits."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", help="Pretrain less or more than the preset.")
    ] = None,
    pretraining_words: Annotated[
        int | None, typer.Option("--pretraining-words", help="Pretrain on less or more text than the preset.")
    ] = None,
    evaluation_words: Annotated[
        int | None, typer.Option("--evaluation-words", help="Score on less or more text than the preset.")
    ] = None,
    collection_words: Annotated[
        int | None, typer.Option("--collection-words", help="Collect over less or more text than the preset.")
    ] = None,
    classifier_epochs: Annotated[
        int | None, typer.Option("--classifier-epochs", help="Fine-tune less or more than the preset.")
    ] = None,
    training_reviews: Annotated[
        int | None,
        typer.Option("--training-reviews", help="Fine-tune on fewer or more reviews than the preset."),
    ] = None,
    validation_reviews: Annotated[
        int | None,
        typer.Option("--validation-reviews", help="Validate on fewer or more reviews than the preset."),
    ] = None,
    test_reviews: Annotated[
        int | None, typer.Option("--test-reviews", help="Test on fewer or more reviews than the preset.")
    ] = None,
    pruning_reviews: Annotated[
        int | None,
        typer.Option(
            "--pruning-reviews", help="Score pruned classifiers on fewer or more reviews of each split."
        ),
    ] = None,
    curve_reviews: Annotated[
        int | None, typer.Option("--curve-reviews", help="The same for sparsity curves, test reviews only.")
    ] = None,
    random_sets: Annotated[
        int | None, typer.Option("--random-sets", help="Random sets beside each pruned one.")
    ] = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
) -> None:
    """Pretrain, apply to a new domain, fine-tune, compare what every neuron knows, and prune; it resumes."""
    from dataclasses import replace

    from txray.experiment import DemoSources, RealSources
    from txray.experiment import preset as preset_named

    changes: dict[str, Any] = {
        "epochs": epochs,
        "pretraining_words": pretraining_words,
        "evaluation_words": evaluation_words,
        "collection_words": collection_words,
        "classifier_epochs": classifier_epochs,
        "training_reviews": training_reviews,
        "validation_reviews": validation_reviews,
        "test_reviews": test_reviews,
        "pruning_reviews": pruning_reviews,
        "curve_reviews": curve_reviews,
        "random_sets": random_sets,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    settings = replace(preset_named(preset), seed=seed, **given)
    if preset == "demo":
        _run(settings, DemoSources(seed), out, device)
        return
    paths = {"--wikitext": wikitext, "--imdb": imdb, "--conllu": conllu}
    missing = [name for name, path in paths.items() if path is None]
    if wikitext is None or imdb is None or conllu is None:
        raise UsageError(
            f"preset {preset!r} needs real text, add {', '.join(missing)}; "
            "'txray data fetch' downloads wikitext-2, imdb and ud-ewt"
        )
    _run(settings, RealSources(wikitext, imdb, conllu), out, device)


def _run(settings: Settings, sources: Sources, out: Path, device: str) -> None:
    import time

    from txray.experiment import run_experiment, write_results

    started = time.monotonic()

    def say(message: str) -> None:
        typer.echo(f"[{time.monotonic() - started:7.1f} s] {message}", err=True)

    outcome = run_experiment(settings, sources, out, device=device, say=say)
    page = write_results(outcome, sources, device=device, say=say)
    say("done")
    typer.echo(page)
