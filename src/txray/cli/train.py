"""`txray train`: the built-in language models and classifiers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
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
    help="Train the built-in models. If interrupted, rerun the command to resume.", no_args_is_help=True
)

Epochs = Annotated[int, typer.Option("--epochs", help="Maximum number of epochs.")]
Patience = Annotated[
    int | None,
    typer.Option("--patience", help="Number of epochs without a better validation loss after which to stop."),
]
LearningRate = Annotated[float, typer.Option("--learning-rate", help="Learning rate of the first epoch.")]
BatchSize = Annotated[int, typer.Option("--batch-size", help="Batch size.")]
_TRACKING = "tracking"


@dataclass
class TrackingOptions:
    """Options of a tracker for the training."""

    track: Annotated[
        bool,
        typer.Option(
            "--track", help="Collect a stage of the validation text after each epoch, in OUT/tracking."
        ),
    ] = False
    budget: Annotated[
        float | None,
        typer.Option("--budget", help="Share of the training time that tracking may take, such as 0.05."),
    ] = None
    logger: options.LoggerNames = None

    def callbacks(self, corpus: Corpus, out: Path) -> list[Callback]:
        """Return the callback of the tracker, if there is one.

        Raises:
            UsageError: options of a tracker without `--track`.
        """
        if not self.track:
            for option, value in (("--budget", self.budget), ("--logger", self.logger)):
                if value:
                    raise UsageError(f"train: {option} {value} without --track; add it")
            return []
        from txray.tracking import CollectSpec, LightningCallback

        loggers = options.open_loggers(self.logger, out)
        spec = CollectSpec(corpus, ["rnn"])
        return [LightningCallback(spec, out / _TRACKING, budget=self.budget, loggers=loggers)]


@app.command()
@expand_option_groups
def lm(
    text_format: options.Format,
    text: options.Text,
    out: options.Out,
    tracking: TrackingOptions,
    cell: Annotated[
        Literal["lstm", "gru", "rnn-tanh", "rnn-relu"], typer.Option("--cell", help="Recurrent cell.")
    ] = "lstm",
    embedding: Annotated[int, typer.Option("--embedding", help="Embedding size.")] = 300,
    hidden: Annotated[int, typer.Option("--hidden", help="Number of neurons per layer.")] = 300,
    layers: Annotated[int, typer.Option("--layers", help="Number of recurrent layers.")] = 1,
    dropout: Annotated[float, typer.Option("--dropout", help="Dropout rate.")] = 0.2,
    tied: Annotated[
        bool, typer.Option("--tied", help="Share the weights of the embedding and the decoder.")
    ] = False,
    vocabulary: Annotated[
        int | None, typer.Option("--vocabulary", help="Number of most frequent words; all by default.")
    ] = None,
    words: Annotated[
        int | None, typer.Option("--words", help="Number of words of training text; all by default.")
    ] = None,
    validation: Annotated[
        str | None, typer.Option("--validation", help="Validation text, if --text has no splits.")
    ] = None,
    test: Annotated[str | None, typer.Option("--test", help="Test text, if --text has no splits.")] = None,
    evaluation_words: Annotated[
        int | None,
        typer.Option(
            "--evaluation-words", help="Number of words of validation and of test text; all by default."
        ),
    ] = None,
    epochs: Epochs = 10,
    batch_size: BatchSize = 20,
    bptt: Annotated[int, typer.Option("--bptt", help="BPTT length, in time steps.")] = 35,
    learning_rate: LearningRate = 2e-3,
    patience: Patience = None,
    tokenized: options.Tokenized = False,
    html: options.Html = False,
    seed: options.Seed = 0,
    device: options.Device = "auto",
) -> None:
    """Pretrain a language model, and save a snapshot of every epoch, including the untrained model.

    The text needs the splits train, validation and test; otherwise name further files with --validation and --test.
    """
    from txray.models import language_model
    from txray.training import train_language_model

    open_corpus = partial(options.open_corpus, text_format, seed=seed, tokenized=tokenized, html=html)
    if validation is None:
        if test is not None:
            raise UsageError(
                "train lm: --test without --validation; name both, or neither for a text with splits"
            )
        corpus, *evaluated = (open_corpus(text, split) for split in ("train", "validation", "test"))
    else:
        files = [text, validation, *([] if test is None else [test])]
        corpus, *evaluated = (open_corpus(file, None) for file in files)
    corpus = corpus if words is None else corpus.take_words(words)
    if evaluation_words is not None:
        evaluated = [split.take_words(evaluation_words) for split in evaluated]
    model = language_model(
        cell,
        corpus,
        embedding=embedding,
        hidden=hidden,
        layers=layers,
        dropout=dropout,
        tied=tied,
        vocabulary_size=vocabulary,
        seed=seed,
    )
    run = train_language_model(
        model,
        corpus,
        *evaluated,
        folder=out,
        epochs=epochs,
        batch_size=batch_size,
        bptt=bptt,
        learning_rate=learning_rate,
        patience=patience,
        seed=seed,
        device=device,
        callbacks=tracking.callbacks(evaluated[0], out),
    )
    _print_run(run, tracking, out)


@app.command()
@expand_option_groups
def classifier(
    encoder: Annotated[Path, typer.Argument(help="Snapshot of a language model.", show_default=False)],
    text_format: options.Format,
    text: options.Text,
    out: options.Out,
    tracking: TrackingOptions,
    pooling: Annotated[
        Literal["last", "last+avg+max"],
        typer.Option("--pooling", help="Input of the classifier's head; last is the paper's."),
    ] = "last",
    epochs: Epochs = 10,
    batch_size: BatchSize = 32,
    learning_rate: LearningRate = 1e-3,
    patience: Patience = 2,
    max_length: Annotated[
        int, typer.Option("--max-length", help="Maximum number of words per document.")
    ] = 400,
    tokenized: options.Tokenized = False,
    html: options.Html = False,
    seed: options.Seed = 0,
    device: options.Device = "auto",
) -> None:
    """Fine-tune a pretrained language model with frozen embeddings as a sentiment classifier.

    A tenth of the training documents is used for validation.
    """
    from txray.experiment.sources import split_off_validation
    from txray.models import classifier as new_classifier
    from txray.models import load_snapshot
    from txray.training import train_classifier

    open_corpus = partial(options.open_corpus, text_format, text, seed=seed, tokenized=tokenized, html=html)
    train, validation = split_off_validation(open_corpus("train"))
    run = train_classifier(
        new_classifier(load_snapshot(encoder), pooling, seed=seed),
        train,
        validation,
        open_corpus("test"),
        folder=out,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        patience=patience,
        max_length=max_length,
        seed=seed,
        device=device,
        callbacks=tracking.callbacks(validation, out),
    )
    _print_run(run, tracking, out)


def _print_run(run: TrainingRun, tracking: TrackingOptions, out: Path) -> None:
    print_table(run.curves)
    typer.echo(f"best epoch {run.best_epoch}: {run.snapshots[run.best_epoch]}")
    if tracking.track:
        folder = out / _TRACKING
        typer.echo(f"stages and tables of the tracker in {folder}; view them with 'txray serve {folder}'")
