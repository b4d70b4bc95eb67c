"""`txray train`: the built-in language models and classifiers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from txray.cli import options
from txray.cli.option_groups import expand_option_groups
from txray.cli.tables import print_table
from txray.errors import UsageError

if TYPE_CHECKING:
    from lightning.pytorch import Callback

    from txray.corpus import Corpus
    from txray.training import TrainingRun

app = typer.Typer(
    help="Train the built-in models; rerun an interrupted command to resume.", no_args_is_help=True
)

CellName = Literal["lstm", "gru", "rnn-tanh", "rnn-relu"]
PoolingName = Literal["last", "last+avg+max"]
_TRACKING = "tracking"


@dataclass
class TrainOptions:
    """Options of both kinds of training."""

    epochs: Annotated[int, typer.Option(help="Maximum number of epochs.")] = 10
    track: Annotated[
        bool,
        typer.Option(
            "--track", help="Collect a stage over the validation text after each epoch, into OUT/tracking."
        ),
    ] = False
    budget: Annotated[
        float | None,
        typer.Option(help="Maximum share of the training time to spend on tracking, such as 0.05."),
    ] = None
    logger: options.LoggerNames = None
    device: options.Device = "auto"


BatchSize = Annotated[int, typer.Option("--batch-size", help="Number of texts per batch.")]
LearningRate = Annotated[float, typer.Option("--learning-rate", help="Learning rate of the first epoch.")]
Patience = Annotated[
    int | None,
    typer.Option(
        "--patience",
        help="Stop after this many epochs without a better validation loss; if unset, train all epochs.",
    ),
]


def _callbacks(train_options: TrainOptions, corpus: Corpus, out: Path) -> list[Callback]:
    """Return the callback that tracks the training, if requested."""
    if not train_options.track:
        for option, value in (("--budget", train_options.budget), ("--logger", train_options.logger)):
            if value:
                raise UsageError(f"train: {option} {value} without --track; add --track")
        return []
    from txray.tracking import CollectSpec, LightningCallback

    loggers = options.open_loggers(train_options.logger, out)
    folder, budget = out / _TRACKING, train_options.budget
    return [LightningCallback(CollectSpec(corpus, ["rnn"]), folder, budget=budget, loggers=loggers)]


def _print_run(run: TrainingRun, train_options: TrainOptions, out: Path) -> None:
    print_table(run.curves)
    typer.echo(f"best epoch {run.best_epoch}: {run.snapshots[run.best_epoch]}")
    if train_options.track:
        folder = out / _TRACKING
        typer.echo(f"stages and tables of the tracking in {folder}; view them with 'txray serve {folder}'")


@app.command()
@expand_option_groups
def lm(
    source: options.SourceOptions,
    out: options.Out,
    train_options: TrainOptions,
    cell: Annotated[CellName, typer.Option(help="Recurrent cell.")] = "lstm",
    embedding: Annotated[int, typer.Option(help="Size of the word embeddings.")] = 300,
    hidden: Annotated[int, typer.Option(help="Number of neurons per layer.")] = 300,
    layers: Annotated[int, typer.Option(help="Number of recurrent layers.")] = 1,
    dropout: Annotated[float, typer.Option(help="Dropout rate.")] = 0.2,
    tied: Annotated[
        bool, typer.Option("--tied", help="Share the weights of the embedding and the decoder.")
    ] = False,
    vocabulary: Annotated[
        int | None, typer.Option(help="Size of the vocabulary: the most frequent words; all by default.")
    ] = None,
    words: Annotated[
        int | None, typer.Option(help="Maximum number of words of training text; all by default.")
    ] = None,
    validation: Annotated[str | None, typer.Option(help="Validation text, if --text has no splits.")] = None,
    test: Annotated[str | None, typer.Option(help="Test text, if --text has no splits.")] = None,
    evaluation_words: Annotated[
        int | None,
        typer.Option(help="Maximum number of words of validation and test text each; all by default."),
    ] = None,
    batch_size: BatchSize = 20,
    bptt: Annotated[int, typer.Option(help="Number of time steps of backpropagation through time.")] = 35,
    learning_rate: LearningRate = 2e-3,
    patience: Patience = None,
) -> None:
    """Pretrain a language model; every epoch is stored as a snapshot, including the untrained model.

    The text needs the splits train, validation and test; or pass separate files with --validation and --test.
    """
    from txray.models import language_model
    from txray.training import train_language_model

    if validation is None:
        if test is not None:
            raise UsageError(
                "train lm: --test without --validation; pass both, or neither for a text with splits"
            )
        splits = ("train", "validation", "test")
        corpus, *evaluated = (source.open_split(split) for split in splits)
    else:
        files = [source.text, validation, *([] if test is None else [test])]
        corpus, *evaluated = (source.open_split(None, file) for file in files)
    corpus = corpus if words is None else corpus.take_words(words)
    if evaluation_words is not None:
        evaluated = [part.take_words(evaluation_words) for part in evaluated]
    model = language_model(
        cell,
        corpus,
        embedding=embedding,
        hidden=hidden,
        layers=layers,
        dropout=dropout,
        tied=tied,
        vocabulary_size=vocabulary,
        seed=source.seed,
    )
    run = train_language_model(
        model,
        corpus,
        *evaluated,
        folder=out,
        epochs=train_options.epochs,
        batch_size=batch_size,
        bptt=bptt,
        learning_rate=learning_rate,
        patience=patience,
        seed=source.seed,
        device=train_options.device,
        callbacks=_callbacks(train_options, evaluated[0], out),
    )
    _print_run(run, train_options, out)


@app.command()
@expand_option_groups
def classifier(
    encoder: Annotated[Path, typer.Argument(help="Snapshot of a language model.", show_default=False)],
    source: options.SourceOptions,
    out: options.Out,
    train_options: TrainOptions,
    pooling: Annotated[
        PoolingName, typer.Option(help="States that the head reads; the paper uses the last.")
    ] = "last",
    batch_size: BatchSize = 32,
    learning_rate: LearningRate = 1e-3,
    patience: Patience = 2,
    max_length: Annotated[int, typer.Option(help="Maximum number of words per document.")] = 400,
) -> None:
    """Fine-tune a pretrained language model as a sentiment classifier, with frozen embeddings.

    One tenth of the training documents is used for validation.
    """
    from txray.experiment.sources import split_off_validation
    from txray.models import classifier as new_classifier
    from txray.models import load_snapshot
    from txray.training import train_classifier

    train, validation = split_off_validation(source.open_split("train"))
    run = train_classifier(
        new_classifier(load_snapshot(encoder), pooling, seed=source.seed),
        train,
        validation,
        source.open_split("test"),
        folder=out,
        epochs=train_options.epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        patience=patience,
        max_length=max_length,
        seed=source.seed,
        device=train_options.device,
        callbacks=_callbacks(train_options, validation, out),
    )
    _print_run(run, train_options, out)
