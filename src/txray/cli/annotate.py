"""Options that add annotations to a corpus: by a tagger, lexicons and spaCy pipelines."""

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
        help="Add an annotation from a lexicon, FILE or FILE:NAME, with a word and its categories per line, separated "
        "by tabs. It is called NAME, or named after the file. Repeat for several.",
    ),
]
Pipelines = Annotated[
    list[str] | None,
    typer.Option(
        "--spacy",
        help="Add an annotation by a spaCy pipeline (name or folder), as PIPELINE:COLUMN, such as en_core_web_sm:ent. "
        "Columns: pos, upos, lemma, feats, deprel, ent. Repeat for several.",
    ),
]


def with_annotations(
    corpus: Corpus, tagger: Path | None, lexicons: Sequence[str] | None, pipelines: Sequence[str] | None
) -> Corpus:
    """Return the corpus with the requested annotations.

    Raises:
        UsageError: a malformed option, or two annotations of the same name.
    """
    by_name: dict[str, Annotator] = {}

    def add(name: str, annotator: Annotator) -> None:
        if name in by_name:
            raise UsageError(
                f"two annotations named {name!r}; give another name, as in --lexicon FILE:NAME, or omit one"
            )
        by_name[name] = annotator

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
            raise UsageError(f"--spacy {option!r}: name a pipeline and a column, such as en_core_web_sm:ent")
        add(column, annotators.spacy(pipeline, column))
    for name, annotator in by_name.items():
        corpus = corpus.annotate(annotator, name)
    return corpus


def _parts(option: str) -> tuple[str, str | None]:
    """Split at the last colon, unless the whole is the path of a file."""
    before, _, after = option.rpartition(":")
    return (option, None) if Path(option).exists() or not before or not after else (before, after)
