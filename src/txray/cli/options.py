"""Options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from txray.errors import UnknownNameError, UsageError, in_one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import polars as pl

    from txray.corpus import Corpus
    from txray.tracking import Logger

FORMATS = "wikitext, imdb, conllu, text, jsonl, parquet, hf (a data set saved to disk), or demo (embedded)"

Format = Annotated[str, typer.Option("--format", "-f", help=f"What the text is: {FORMATS}.")]
Text = Annotated[
    str, typer.Option("--text", "-t", help="File or folder; for the format demo: encyclopedia or reviews.")
]
Split = Annotated[
    str | None, typer.Option("--split", help="train, validation or test, where the format has them.")
]
Tokenized = Annotated[
    bool,
    typer.Option("--tokenized", help="The text is split into words by spaces already, as WikiText is."),
]
Html = Annotated[
    bool,
    typer.Option("--html", help="The text is HTML, as reviews of IMDB are: resolve <br /> and entities."),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Seed = Annotated[int, typer.Option("--seed", help="Of every random choice.")]
Feature = Annotated[
    str, typer.Option("--feature-type", help="The feature type: token, pos, output, label, ...")
]
Layer = Annotated[str | None, typer.Option("--layer", help="May be left out where stages have one layer.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Where the result goes.")]
Layers = Annotated[
    list[str],
    typer.Option(
        "--layer",
        help="Name or pattern, such as encoder.layer.*.intermediate; again for each. NAME:input for what the layer is "
        "given, NAME:call=0 for the first call of a layer that runs several times.",
    ),
]
Features = Annotated[
    list[str],
    typer.Option(
        "--feature-type",
        help="token, subword, output (txray's models only), label, or an annotation such as pos; again for each.",
    ),
]
SelectionName = Annotated[
    str,
    typer.Option(
        "--selection",
        help="max-1 (the paper), max-5, threshold=0.5, all or max-position; with a sign or zscore: "
        "max-1/absolute, max-1/zscore.",
    ),
]
TaggerFolder = Annotated[
    Path | None, typer.Option("--tagger", help="Adds the annotation pos by this tagger.")
]
MaxWords = Annotated[int | None, typer.Option("--max-words", help="Read so many words; all by default.")]
StageFolder = Annotated[Path, typer.Argument(help="A stage folder.", show_default=False)]

DEMO_WORDS: int | None = None
"""Of the embedded corpus; None for all."""


def open_corpus(
    kind: str, text: str, split: str | None, seed: int = 0, *, tokenized: bool = False, html: bool = False
) -> Corpus:
    """Open the corpus that the options name.

    Raises:
        UnknownNameError: no such format, or one that has no such option.
        TxrayError: as `txray.read_corpus` does.
    """
    from txray.corpus import demo_corpus, read_corpus
    from txray.corpus.read import FORMATS as READERS

    if kind not in READERS and kind != "demo":
        raise UnknownNameError.of("format", kind, [*READERS, "demo"])
    asked = {name: True for name, value in (("tokenized", tokenized), ("html", html)) if value}
    if kind == "demo":
        if asked:
            raise UsageError(f"--{next(iter(asked))}: the text demo needs no such option; leave it out")
        return demo_corpus(text, words=DEMO_WORDS, seed=seed, split=split or "train")
    return read_corpus(kind, text, split=split, **asked)


LoggerNames = Annotated[
    list[str] | None,
    typer.Option(
        "--logger",
        help="Tell wandb (project txray, or WANDB_PROJECT), tensorboard (folder OUT-tensorboard), mlflow (as "
        "MLFLOW_TRACKING_URI says) or visdom (port 8097); again for each.",
    ),
]


def open_loggers(names: Sequence[str] | None, out: Path) -> list[Logger]:
    """The loggers of these names; TensorBoard's files go into a folder beside `out`.

    Raises:
        UnknownNameError: no such logger.
        UsageError: its library is missing, or it cannot be reached.
    """
    from txray.tracking import loggers

    made: dict[str, Callable[[], Logger]] = {
        "wandb": lambda: loggers.WandbLogger(project=os.environ.get("WANDB_PROJECT", "txray")),
        "tensorboard": lambda: loggers.TensorBoardLogger(out.with_name(f"{out.name}-tensorboard")),
        "mlflow": lambda: loggers.MLflowLogger(),
        "visdom": lambda: loggers.VisdomLogger(),
    }
    for name in names or ():
        if name not in made:
            raise UnknownNameError.of("logger", name, made)
    return [made[name]() for name in names or ()]


Weight = Annotated[
    str, typer.Option("--weight", help="What distributions normalise: mean (the paper), mass or count.")
]
Fdr = Annotated[float, typer.Option("--fdr", help="False discovery rate of the tests.")]
Permutations = Annotated[
    int,
    typer.Option("--permutations", help="Maximum number of permutations per neuron; 0 disables the tests."),
]
Scores = Annotated[
    Path | None,
    typer.Option(
        "--scores",
        help="CSV or Parquet with a column stage, and scores such as perplexity; or stages.csv of a timeline.",
    ),
]


def read_scores(file: Path | None) -> pl.DataFrame | None:
    """The table of scores; None where no file is named.

    Raises:
        UsageError: a file of another kind, or one that cannot be read as such.
    """
    import polars

    if file is None:
        return None
    if file.suffix not in (".csv", ".parquet"):
        raise UsageError(f"{file}: scores are read from .csv or .parquet; name such a file")
    try:
        return polars.read_csv(file) if file.suffix == ".csv" else polars.read_parquet(file)
    except polars.exceptions.PolarsError as error:
        raise UsageError(f"{file}: is no table ({in_one_line(error)}); correct it") from error
