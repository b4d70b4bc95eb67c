"""Annotations that the command line adds to a corpus: by a tagger, lexicons and spaCy pipelines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from txray.errors import UsageError

if TYPE_CHECKING:
    from txray.corpus import Annotator, Corpus

Lexicons = Annotated[
    list[str] | None,
    typer.Option(
        "--lexicon",
        help="FILE or FILE:NAME, words and their categories separated by tabs: adds them as an annotation, named as "
        "the file or NAME; again for each.",
    ),
]
Pipelines = Annotated[
    list[str] | None,
    typer.Option(
        "--spacy",
        help="PIPELINE:COLUMN, such as en_core_web_sm:ent: adds pos, upos, lemma, feats, deprel or ent by this "
        "spaCy pipeline (name or folder); again for each.",
    ),
]


def annotated(
    corpus: Corpus, tagger: Path | None, lexicons: Sequence[str] | None, pipelines: Sequence[str] | None
) -> Corpus:
    """The corpus with the annotations that were asked for.

    Raises:
        UsageError: an option that is not as described, or two annotations of one name.
    """
    found: dict[str, Annotator] = {}

    def add(name: str, annotator: Annotator) -> None:
        if name in found:
            raise UsageError(
                f"two annotations named {name!r}; give another name, as in --lexicon FILE:NAME, or leave one away"
            )
        found[name] = annotator

    if tagger is not None:
        from txray.corpus import Tagger

        add("pos", Tagger.load(tagger))
    for option in lexicons or ():
        from txray.corpus import annotators

        file, name = _parts(option)
        lexicon = annotators.lexicon(file, name)
        add(lexicon.name, lexicon)
    for option in pipelines or ():
        from txray.corpus import annotators

        pipeline, column = _parts(option)
        if column is None:
            raise UsageError(
                f"--spacy {option!r}: name a pipeline and what it gives, such as en_core_web_sm:ent"
            )
        add(column, annotators.spacy(pipeline, column))
    for name, annotator in found.items():
        corpus = corpus.annotate(annotator, name)
    return corpus


def _parts(option: str) -> tuple[str, str | None]:
    """What stands before and after the last colon, unless the whole is the path of a file."""
    before, _, after = option.rpartition(":")
    return (option, None) if Path(option).exists() or not before or not after else (before, after)
