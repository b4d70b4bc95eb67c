"""`txray experiment` and `txray demo`: the paper's experiment in one command."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from txray.cli import options
from txray.cli.option_groups import expand_option_groups
from txray.errors import UsageError

if TYPE_CHECKING:
    from txray.experiment import Settings, Sources


@dataclass
class SizeOptions:
    """Options that replace settings of the preset, named as in `txray.experiment.Settings`."""

    epochs: Annotated[int | None, typer.Option(help="Maximum number of pretraining epochs.")] = None
    pretraining_words: Annotated[int | None, typer.Option(help="Number of words of pretraining text.")] = None
    evaluation_words: Annotated[
        int | None, typer.Option(help="Number of words of validation text and of test text.")
    ] = None
    collection_words: Annotated[int | None, typer.Option(help="Number of words read for each stage.")] = None
    classifier_epochs: Annotated[int | None, typer.Option(help="Maximum number of fine-tuning epochs.")] = (
        None
    )
    training_reviews: Annotated[int | None, typer.Option(help="Number of reviews for fine-tuning.")] = None
    validation_reviews: Annotated[int | None, typer.Option(help="Number of reviews for validation.")] = None
    test_reviews: Annotated[int | None, typer.Option(help="Number of reviews for the test.")] = None
    pruning_reviews: Annotated[
        int | None, typer.Option(help="Number of reviews per split for scoring pruned classifiers.")
    ] = None
    curve_reviews: Annotated[
        int | None, typer.Option(help="Number of test reviews for scoring sparsity curves.")
    ] = None
    random_sets: Annotated[int | None, typer.Option(help="Number of random sets of each size.")] = None


def demo(
    out: options.Out = Path("out/demo"), seed: options.Seed = 0, device: options.Device = "auto"
) -> None:
    """Run the experiment on the embedded corpus: a few minutes, no downloads."""
    from dataclasses import replace

    from txray.experiment import DemoSources, preset

    _run(replace(preset("demo"), seed=seed), DemoSources(seed), out, device)


@expand_option_groups
def experiment(
    preset: Annotated[
        Literal["demo", "small", "paper"], typer.Option("--preset", help="Sizes of model and text.")
    ],
    out: options.Out,
    wikitext: Annotated[Path | None, typer.Option(help="Folder, zip archive or file of WikiText-2.")] = None,
    imdb: Annotated[
        Path | None, typer.Option(help="IMDB: aclImdb folder, its archive, or a folder with CSV files.")
    ] = None,
    conllu: Annotated[
        Path | None,
        typer.Option(help="Treebank for the tagger: its training file, or a folder with its splits."),
    ] = None,
    *,
    sizes: SizeOptions,
    seed: options.Seed = 0,
    device: options.Device = "auto",
) -> None:
    """Pretrain a model, apply it to a new domain, fine-tune it, compare its neurons, and prune it.

    The sizes of the preset can be changed one by one. If interrupted, rerun the command to resume.
    """
    from dataclasses import replace

    from txray.experiment import DemoSources, RealSources
    from txray.experiment import preset as preset_named

    changes = {name: value for name, value in asdict(sizes).items() if value is not None}
    settings = replace(preset_named(preset), seed=seed, **changes)
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

    def log(message: str) -> None:
        typer.echo(f"[{time.monotonic() - started:7.1f} s] {message}", err=True)

    result = run_experiment(settings, sources, out, device=device, log=log)
    report = write_results(result, sources, device=device, log=log)
    log("done")
    typer.echo(report)
