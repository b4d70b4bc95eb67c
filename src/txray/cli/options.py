"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from txray.cli import annotate
from txray.errors import UnknownNameError, UsageError, in_one_line

if TYPE_CHECKING:
    import polars as pl
    from torch import nn

    from txray import capture
    from txray.activations import StoredActivations
    from txray.corpus import Corpus
    from txray.models import RecurrentLanguageModel, SentimentClassifier, TextModel
    from txray.tracking import Logger

# Importing the choices from the packages that define them would load torch or polars for every --help.
TextFormat = Literal["wikitext", "imdb", "conllu", "text", "jsonl", "parquet", "hf", "demo", "activations"]
DeviceName = Literal["auto", "cpu", "cuda"]
WeightName = Literal["mean", "mass", "count"]
LoggerName = Literal["wandb", "tensorboard", "mlflow", "visdom"]
FIGURE_FILES = (".html", ".json", ".png", ".pdf", ".svg")
TABLE_FILES = (".parquet", ".csv")


def file_of_type(suffixes: Sequence[str]) -> Callable[[Path | None], Path | None]:
    """Return a callback for an option that checks the suffix (in lower case) of a file before any work."""

    def check(file: Path | None) -> Path | None:
        if file is not None and file.suffix.lower() not in suffixes:
            raise UnknownNameError.of(f"file type of {file}", file.suffix, suffixes)
        return file

    return check


def list_of(choices: object, name: str) -> Callable[[str], str]:
    """Return a parser for a repeatable option with choices of a `Literal` type: typer does not support lists of them.

    `name`: noun for the message, such as `logger`.
    """

    def parse(value: str) -> str:
        if value not in get_args(choices):
            raise UnknownNameError.of(name, value, get_args(choices))
        return value

    return parse


def metavar(choices: object) -> str:
    """Return the choices of a `Literal` type as `--help` shows them."""
    return f"<{'|'.join(get_args(choices))}>"


Model = Annotated[
    str,
    typer.Argument(
        help="Snapshot folder, folder of a Hugging Face model, an adapter of PEFT or a sentence transformer, or hf: "
        "and a name on the Hugging Face hub.",
        show_default=False,
    ),
]
Base = Annotated[
    str | None,
    typer.Option(
        help="Base model of an adapter of PEFT, a folder or hf: and a name; by default the one that it names."
    ),
]
Format = Annotated[
    TextFormat,
    typer.Option(
        "--format",
        "-f",
        help="Format of the text; hf: a data set saved to disk; demo: the embedded "
        "corpus; activations: the text of stored activations.",
    ),
]
Text = Annotated[
    str, typer.Option("--text", "-t", help="File or folder; for --format demo: encyclopedia or reviews.")
]
Split = Annotated[
    str | None, typer.Option(help="Split of the text, such as train, validation or test, if it has several.")
]
Tokenized = Annotated[
    bool, typer.Option("--tokenized", help="Split words at spaces only, for text such as WikiText.")
]
Html = Annotated[
    bool, typer.Option("--html", help="Replace <br /> tags and HTML entities, for text such as IMDB reviews.")
]
Device = Annotated[DeviceName, typer.Option(help="Device of the model.")]
Seed = Annotated[int, typer.Option(help="Random seed.")]
Feature = Annotated[str, typer.Option(help="Feature type: token, pos, output, label, or an annotation.")]
Layer = Annotated[
    str | None, typer.Option(help="Name of the layer; required only if the stages have several.")
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the result.")]
StageName = Annotated[
    str | None, typer.Option(help="Name of the stage; by default the name of the folder --out.")
]
MaxWords = Annotated[int | None, typer.Option(help="Maximum number of words to read; all by default.")]
StageFolder = Annotated[Path, typer.Argument(help="Stage folder.", show_default=False)]
StageFolders = Annotated[
    list[Path],
    typer.Argument(
        help="Stage folders, in order, or folders that contain them; at least two.", show_default=False
    ),
]
Weight = Annotated[
    WeightName, typer.Option(help="Normalization of preference distributions; mean is the paper's.")
]
Fdr = Annotated[float, typer.Option(help="False discovery rate of the tests.")]
Permutations = Annotated[
    int, typer.Option(help="Maximum number of permutations per neuron; 0 disables the tests.")
]
MinEffect = Annotated[
    float,
    typer.Option(help="Corrected Hellinger distance that a change must exceed; 0 tests for any change."),
]
Scores = Annotated[
    Path | None,
    typer.Option(
        callback=file_of_type(TABLE_FILES),
        help="CSV or Parquet file with a column stage, and scores such as perplexity; or stages.csv of a timeline.",
    ),
]
LoggerNames = Annotated[
    list[str] | None,
    typer.Option(
        parser=list_of(LoggerName, "logger"),
        metavar=metavar(LoggerName),
        help="Log to wandb (project txray, or WANDB_PROJECT), tensorboard (folder OUT-tensorboard), mlflow (server "
        "MLFLOW_TRACKING_URI) or visdom (port 8097); repeat for several.",
    ),
]
TableFile = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        callback=file_of_type(TABLE_FILES),
        help=f"File for the table: {', '.join(TABLE_FILES)}.",
    ),
]
FigureFile = Annotated[
    Path,
    typer.Option(
        "--out", "-o", callback=file_of_type(FIGURE_FILES), help=f"File: {', '.join(FIGURE_FILES)}."
    ),
]
OptionalFigureFile = Annotated[
    Path | None,
    typer.Option(
        "--figure",
        callback=file_of_type(FIGURE_FILES),
        help=f"Draw a figure to this file: {', '.join(FIGURE_FILES)}.",
    ),
]

DEMO_WORDS: int | None = None
"""Words of the embedded corpus; None for all."""


@dataclass
class SourceOptions:
    """Options of the text that a command reads, without its split."""

    text_format: Format
    text: Text
    tokenized: Tokenized = False
    html: Html = False
    seed: Seed = 0

    def open_split(self, split: str | None, text: str | None = None) -> Corpus:
        """Return a split of the text, or of another text of the same format.

        Raises:
            UsageError: an option that the format does not have.
            TxrayError: errors of `txray.read_corpus`.
        """
        from txray.corpus import demo_corpus, read_corpus

        text = text or self.text
        flags = {name: True for name in ("tokenized", "html") if getattr(self, name)}
        if self.text_format in ("demo", "activations"):
            if flags:
                raise UsageError(
                    f"--{next(iter(flags))}: does not apply to --format {self.text_format}; leave it out"
                )
            if self.text_format == "activations":
                from txray.activations import read_activations

                return read_activations(text).corpus()
            return demo_corpus(text, words=DEMO_WORDS, seed=self.seed, split=split or "train")
        return read_corpus(self.text_format, text, split=split, **flags)


@dataclass
class TextOptions(SourceOptions):
    """Options of the text that a command reads."""

    split: Split = None

    def open(self) -> Corpus:
        """Return the corpus that the options name, see `open_split`."""
        return self.open_split(self.split)


@dataclass
class ComparisonOptions:
    """Options of comparisons, with the names of the parameters of `txray.compare` and `txray.timeline`."""

    weight: Weight = "mean"
    fdr: Fdr = 0.05
    permutations: Permutations = 10_000
    seed: Seed = 0
    min_effect: MinEffect = 0.0


@dataclass
class CollectOptions:
    """Options of what is collected from the text."""

    layer: Annotated[
        list[str],
        typer.Option(
            help="Name or pattern, such as encoder.layer.*.intermediate; repeat for several. By default rnn, or "
            "the MLP neurons of a transformer (see txray layers). NAME:input collects the input of a layer, NAME:head "
            "its attention heads, NAME:output=1 a part of its output, NAME:expert=0 the neurons of its first expert, "
            "NAME:call=0 its first call if it runs several times.",
            show_default=False,
        ),
    ] = field(default_factory=list)
    through: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of a sparse autoencoder (SAELens) whose latents are collected instead of the layer's neurons; "
            "one for each --layer, in the same order. For a pattern, a folder of folders named like the layers. "
            "Without --layer, the layer that the folder names."
        ),
    ] = None
    feature_type: Annotated[
        list[str],
        typer.Option(
            help="token, subword, output (the next word or class that the model predicts), label, or an annotation "
            "such as pos; repeat for several."
        ),
    ] = field(default_factory=lambda: ["token"])
    selection: Annotated[
        str,
        typer.Option(
            help="max-1 (the paper's), max-5, threshold=0.5, all or max-position; append a sign or zscore: "
            "max-1/absolute, max-1/zscore."
        ),
    ] = "max-1"
    tagger: Annotated[Path | None, typer.Option(help="Tagger that adds the annotation pos.")] = None
    lexicon: annotate.Lexicons = None
    spacy: annotate.Pipelines = None
    max_words: MaxWords = None

    def layers(
        self, model: TextModel | nn.Module | StoredActivations, device: str = "cpu"
    ) -> list[str | capture.Layer]:
        """Return the layers to collect from a model, see `default_layers` and `layers_through`."""
        from txray.activations import StoredActivations
        from txray.cli.through import layers_through

        if self.through:
            if not self.layer and isinstance(model, StoredActivations) and "rnn" not in model.layers:
                raise UsageError(
                    "--through: stored activations have no model in which to look for the layer of an autoencoder; "
                    f"name it with --layer: {', '.join(model.layers)}"
                )
            whole = None if isinstance(model, StoredActivations) else model
            return layers_through(self.layer, self.through, device, whole)
        return list(default_layers(self.layer, model))

    def annotated(self, corpus: Corpus) -> Corpus:
        """Return the corpus with the annotations that the options name."""
        return annotate.with_annotations(corpus, self.tagger, self.lexicon, self.spacy)


def open_source(
    model: str, base: str | None = None
) -> RecurrentLanguageModel | SentimentClassifier | TextModel | StoredActivations:
    """Return the model, or the stored activations, that an argument names.

    Raises:
        UsageError: stored activations with a base.
        TxrayError: errors of `txray.load_model` and `txray.read_activations`.
    """
    from txray.activations import read_activations
    from txray.activations.read import is_activations
    from txray.models import load_model

    if not is_activations(model):
        return load_model(model, base=base)
    if base is not None:
        raise UsageError(f"{model}: --base {base}, but stored activations need no model; omit --base")
    return read_activations(model)


def default_layers(layers: Sequence[str], model: TextModel | nn.Module | StoredActivations) -> list[str]:
    """Return the layers that `--layer` names, or the default ones.

    These are all layers of stored activations, `rnn`, or the MLP neurons of a transformer.

    Raises:
        UsageError: the model has neither.
    """
    if layers:
        return list(layers)
    from txray.activations import StoredActivations
    from txray.capture import layer_names, layer_roles
    from txray.models import TextModel

    if isinstance(model, StoredActivations):
        return list(model.layers)
    if not isinstance(model, TextModel) or "rnn" in layer_names(model.module):
        return ["rnn"]
    roles = layer_roles(model)
    patterns = [role.pattern for role in roles if role.role == "MLP neurons"]
    if not patterns:
        experts = [role.pattern for role in roles if role.role == "expert neurons"]
        suggestion = f"collect its experts, --layer {experts[0]!r}, or " if experts else ""
        raise UsageError(
            "--layer: the model has no MLP neurons that txray recognizes; "
            f"{suggestion}name a layer (txray layers MODEL)"
        )
    typer.echo(
        f"no --layer: collecting the MLP neurons, --layer {' --layer '.join(map(repr, patterns))}", err=True
    )
    return patterns


def open_loggers(names: Sequence[str] | None, out: Path) -> list[Logger]:
    """Return the loggers of these names; TensorBoard's files go into a folder beside `out`.

    Raises:
        UsageError: a library is missing, or a server cannot be reached.
    """
    from txray.tracking import loggers

    factories: dict[str, Callable[[], Logger]] = {
        "wandb": lambda: loggers.WandbLogger(project=os.environ.get("WANDB_PROJECT", "txray")),
        "tensorboard": lambda: loggers.TensorBoardLogger(out.with_name(f"{out.name}-tensorboard")),
        "mlflow": lambda: loggers.MLflowLogger(),
        "visdom": lambda: loggers.VisdomLogger(),
    }
    return [factories[name]() for name in names or ()]


def read_scores(file: Path | None) -> pl.DataFrame | None:
    """Return the table of scores; None if no file is named.

    Raises:
        UsageError: the file is not a table.
    """
    import polars

    if file is None:
        return None
    try:
        return polars.read_csv(file) if file.suffix.lower() == ".csv" else polars.read_parquet(file)
    except polars.exceptions.PolarsError as error:
        raise UsageError(f"{file}: not a table ({in_one_line(error)}); correct it") from error


def write_table(table: pl.DataFrame, file: Path) -> None:
    """Write a table as CSV or Parquet, by the suffix of the file; the file is complete or absent."""
    from txray.files import atomic_file

    with atomic_file(file) as new:
        if file.suffix.lower() == ".csv":
            table.write_csv(new)
        else:
            table.write_parquet(new)


def memory_in_bytes(memory: float | None, option: str = "--memory") -> int | None:
    """Return the value of an option, in GiB, as bytes.

    Raises:
        UsageError: not a positive number.
    """
    if memory is None:
        return None
    if not 0 < memory < 1e9:
        raise UsageError(f"{option} {memory}: give a positive number of GiB, such as 4")
    return int(memory * 2**30)
