"""`txray tagger`: part-of-speech taggers from treebanks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from txray.cli import options

app = typer.Typer(
    help="Train and evaluate part-of-speech taggers on CoNLL-U treebanks.", no_args_is_help=True
)

Split = Annotated[
    str | None, typer.Option("--split", help="Split of the treebank, if it is a folder: train, dev or test.")
]
Treebank = Annotated[
    Path, typer.Argument(help="CoNLL-U file, plain or .gz, or a folder of such files.", show_default=False)
]


@app.command()
def train(
    treebank: Treebank,
    out: options.Out,
    column: Annotated[
        Literal["pos", "upos"], typer.Option("--column", help="Tags to learn; pos is the column XPOS.")
    ] = "pos",
    split: Split = None,
) -> None:
    """Train a tagger from a treebank."""
    from txray.corpus import Tagger
    from txray.corpus.tagger import SAVED
    from txray.files import require_replaceable

    require_replaceable(out, (SAVED,))
    tagger = Tagger.train(treebank, column=column, split=split)
    tagger.save(out)
    typer.echo(f"tagger in {out}")


@app.command()
def evaluate(
    tagger: Annotated[
        Path, typer.Argument(help="Folder written by 'txray tagger train'.", show_default=False)
    ],
    treebank: Treebank,
    split: Split = None,
) -> None:
    """Measure a tagger on a treebank with gold words and tags."""
    from txray.corpus import Tagger, read_corpus

    score = Tagger.load(tagger).evaluate(read_corpus("conllu", treebank, split))
    typer.echo(f"{score.correct:,} of {score.words:,} words right: {score.accuracy:.2%}")
