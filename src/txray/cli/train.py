"""`txray train`: the built-in language models and classifiers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from txray.cli import options
from txray.cli.tables import print_table
from txray.errors import UsageError

if TYPE_CHECKING:
    from lightning.pytorch import Callback

    from txray.corpus import Corpus

app = typer.Typer(
    help="Train the built-in models; a killed training goes on where it stopped.", no_args_is_help=True
)

Epochs = Annotated[int, typer.Option("--epochs", help="At most.")]
Patience = Annotated[
    int | None, typer.Option("--patience", help="Stop after so many epochs without a better validation loss.")
]
LearningRate = Annotated[float, typer.Option("--learning-rate", help="Of the first epoch.")]
BatchSize = Annotated[int, typer.Option("--batch-size", help="Texts side by side.")]
_TRACKING = "tracking"
Track = Annotated[
    bool,
    typer.Option(
        "--track", help="Collect a stage after each epoch, over the validation text; in OUT/tracking."
    ),
]
Budget = Annotated[
    float | None,
    typer.Option("--budget", help="Share of the time of training that tracking may take, such as 0.05."),
]


def _callbacks(
    track: bool, budget: float | None, logger: list[str] | None, corpus: Corpus, out: Path
) -> list[Callback]:
    """What watches the training."""
    if not track:
        for option, value in (("--budget", budget), ("--logger", logger)):
            if value:
                raise UsageError(f"train: {option} {value} without --track; add it")
        return []
    from txray.tracking import CollectSpec, LightningCallback

    loggers = options.open_loggers(logger, out)
    return [LightningCallback(CollectSpec(corpus, ["rnn"]), out / _TRACKING, budget=budget, loggers=loggers)]


def _say_where(track: bool, out: Path) -> None:
    if track:
        place = out / _TRACKING
        typer.echo(f"stages and tables of the tracking in {place}; look at them with 'txray serve {place}'")


@app.command()
def lm(
    kind: options.Format,
    text: options.Text,
    out: options.Out,
    cell: Annotated[str, typer.Option("--cell", help="lstm, gru, rnn-tanh or rnn-relu.")] = "lstm",
    embedding: Annotated[int, typer.Option("--embedding", help="Numbers per word.")] = 300,
    hidden: Annotated[int, typer.Option("--hidden", help="Neurons per layer.")] = 300,
    layers: Annotated[int, typer.Option("--layers", help="Recurrent layers.")] = 1,
    dropout: Annotated[float, typer.Option("--dropout", help="Share left out while training.")] = 0.2,
    tied: Annotated[bool, typer.Option("--tied", help="The decoder uses the embedding's weights.")] = False,
    vocabulary: Annotated[
        int | None, typer.Option("--vocabulary", help="Most frequent words; all by default.")
    ] = None,
    words: Annotated[
        int | None, typer.Option("--words", help="Words of training text; all by default.")
    ] = None,
    validation: Annotated[
        str | None, typer.Option("--validation", help="Validation text, where --text has no splits.")
    ] = None,
    test: Annotated[str | None, typer.Option("--test", help="Test text, where --text has no splits.")] = None,
    evaluation_words: Annotated[
        int | None,
        typer.Option("--evaluation-words", help="Words of validation and of test text; all by default."),
    ] = None,
    epochs: Epochs = 10,
    batch_size: BatchSize = 20,
    bptt: Annotated[int, typer.Option("--bptt", help="Steps that gradients go back.")] = 35,
    learning_rate: LearningRate = 2e-3,
    patience: Patience = None,
    track: Track = False,
    budget: Budget = None,
    logger: options.LoggerNames = None,
    tokenized: options.Tokenized = False,
    html: options.Html = False,
    seed: options.Seed = 0,
    device: options.Device = "auto",
) -> None:
    """Pretrain a language model; every epoch is kept as a snapshot, the untrained model included.

    The text needs the splits train, validation and test, or further files are named with --validation and --test.
    """
    from txray.models import language_model
    from txray.training import train_language_model

    if validation is None:
        if test is not None:
            raise UsageError(
                "train lm: --test without --validation; name both, or neither for a text with splits"
            )
        corpus, *scored = (
            options.open_corpus(kind, text, split, seed, tokenized=tokenized, html=html)
            for split in ("train", "validation", "test")
        )
    else:
        files = [text, validation, *([] if test is None else [test])]
        corpus, *scored = (
            options.open_corpus(kind, file, None, seed, tokenized=tokenized, html=html) for file in files
        )
    corpus = corpus if words is None else corpus.take_words(words)
    if evaluation_words is not None:
        scored = [one.take_words(evaluation_words) for one in scored]
    model = language_model(
        cell,  # type: ignore[arg-type]  # the model checks it
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
        *scored,
        folder=out,
        epochs=epochs,
        batch_size=batch_size,
        bptt=bptt,
        learning_rate=learning_rate,
        patience=patience,
        seed=seed,
        device=device,
        callbacks=_callbacks(track, budget, logger, scored[0], out),
    )
    print_table(run.curves)
    typer.echo(f"best epoch {run.best_epoch}: {run.snapshots[run.best_epoch]}")
    _say_where(track, out)


@app.command()
def classifier(
    encoder: Annotated[Path, typer.Argument(help="Snapshot of a language model.", show_default=False)],
    kind: options.Format,
    text: options.Text,
    out: options.Out,
    pooling: Annotated[str, typer.Option("--pooling", help="last (the paper) or last+avg+max.")] = "last",
    epochs: Epochs = 10,
    batch_size: BatchSize = 32,
    learning_rate: LearningRate = 1e-3,
    patience: Patience = 2,
    max_length: Annotated[
        int, typer.Option("--max-length", help="Documents are cut to so many words.")
    ] = 400,
    track: Track = False,
    budget: Budget = None,
    logger: options.LoggerNames = None,
    tokenized: options.Tokenized = False,
    html: options.Html = False,
    seed: options.Seed = 0,
    device: options.Device = "auto",
) -> None:
    """Fine-tune a pretrained language model as a sentiment classifier, embeddings frozen.

    A tenth of the training documents is kept for validation.
    """
    from txray.experiment.sources import split_off_validation
    from txray.models import classifier as fresh_classifier
    from txray.models import load_snapshot
    from txray.training import train_classifier

    train, validation = split_off_validation(
        options.open_corpus(kind, text, "train", seed, tokenized=tokenized, html=html)
    )
    run = train_classifier(
        fresh_classifier(load_snapshot(encoder), pooling, seed=seed),  # type: ignore[arg-type]
        train,
        validation,
        options.open_corpus(kind, text, "test", seed, tokenized=tokenized, html=html),
        folder=out,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        patience=patience,
        max_length=max_length,
        seed=seed,
        device=device,
        callbacks=_callbacks(track, budget, logger, validation, out),
    )
    print_table(run.curves)
    typer.echo(f"best epoch {run.best_epoch}: {run.snapshots[run.best_epoch]}")
    _say_where(track, out)
