"""Annotation by a Stanza pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from txray._optional import import_package
from txray.corpus.annotators.annotator import COLUMNS, OUTSIDE, PipelineAnnotator, Sentences, as_label
from txray.corpus.document import Document
from txray.errors import UnknownNameError, UsageError
from txray.files import sha256_of
from txray.identity import derived, identity_of

_ATTRIBUTES = {"pos": "xpos", "upos": "upos", "lemma": "lemma", "feats": "feats", "deprel": "deprel"}
_PROCESSORS = {
    "pos": "pos",
    "upos": "pos",
    "lemma": "lemma",
    "feats": "pos",
    "deprel": "depparse",
    "ent": "ner",
}
_SPLITTING = ("tokenize", "mwt")
"""Processors that are skipped, because the words are given."""


def stanza(pipeline: Any, column: str) -> StanzaAnnotator:
    """Annotate words with what a Stanza pipeline predicts.

    The pipeline receives the words and sentences of the document. Its processors `tokenize` and `mwt` are skipped, so
    that every word has one value. Documents of more than 10,000 words go through it in pieces of whole sentences.
    Missing values are `_`, and a word outside every entity gets `O`. White space inside a value becomes `␣`. Words are
    cut to 1,000 characters.

    Args:
        pipeline: `stanza.Pipeline`, with the processor that gives the column. Stanza's model files can run code when
            they are loaded: load only files that you trust.
        column: `pos` (XPOS), `upos`, `lemma`, `feats`, `deprel`, or `ent` (type of entity); also the name of the
            annotation.

    Raises:
        UnknownNameError: no such column.
        UsageError: Stanza is not installed, this is not a pipeline, or it lacks the processor; while reading: the
            pipeline changed the words.
    """
    return StanzaAnnotator(pipeline, column)


class StanzaAnnotator(PipelineAnnotator):
    """Annotator that runs a Stanza pipeline; see `stanza`.

    Attributes:
        name: of the annotation.
    """

    max_words = 10_000

    def __init__(self, pipeline: Any, column: str) -> None:
        if column not in COLUMNS:
            raise UnknownNameError.of("column of a Stanza pipeline", column, COLUMNS)
        self._document = import_package("stanza.models.common.doc", "annotators.stanza").Document
        processors = getattr(pipeline, "processors", None)
        if not isinstance(processors, dict) or not callable(getattr(pipeline, "process", None)):
            raise UsageError(f"annotators.stanza: a {type(pipeline).__name__}; give a stanza.Pipeline")
        needed = _PROCESSORS[column]
        if needed not in processors:
            raise UsageError(
                f"Stanza pipeline ({', '.join(processors) or 'no processors'}): {column!r} needs the processor "
                f"{needed!r}; create the pipeline with it"
            )
        self.name = column
        self._pipeline = pipeline
        self._processors = [name for name in processors if name not in _SPLITTING]

    def __repr__(self) -> str:
        return f"StanzaAnnotator({', '.join(self._processors)}; {self.name!r})"

    @cached_property
    def fingerprint(self) -> str:
        """Hash of column, version of Stanza, language, processors, and the files they were loaded from.

        A processor that names no file is described by `txray.identity`.
        """
        processors = [
            (name, type(processor).__name__, *_identity(processor))
            for name, processor in self._pipeline.processors.items()
            if name in self._processors
        ]
        language = getattr(self._pipeline, "lang", None)
        library = import_package("stanza", "annotators.stanza").__version__
        return derived("stanza", self.name, library, language, *chain(*processors))

    def _annotate(self, document: Document, sentences: Sentences) -> list[str]:
        words = list(chain.from_iterable(sentences))
        processed = self._pipeline.process(
            self._document(list(_entries(sentences)), " ".join(words)), processors=self._processors
        )
        units = [
            unit
            for sentence in processed.sentences
            for unit in (sentence.tokens if self.name == "ent" else sentence.words)
        ]
        if len(units) != len(words):
            raise UsageError(
                f"document {document.id!r}: {self!r} made {len(units)} words of {len(words)}; leave out the processor "
                "that merges or splits words"
            )
        if self.name == "ent":
            return [_entity(unit.ner) for unit in units]
        return [as_label(getattr(unit, _ATTRIBUTES[self.name]) or "") for unit in units]


def _entries(sentences: Sentences) -> Iterator[list[dict[str, Any]]]:
    """Yield the sentences as entries of Stanza's documents, with the positions of words in the text."""
    start = 0
    for sentence in sentences:
        entries = []
        for number, word in enumerate(sentence, 1):
            end = start + len(word)
            entries.append({"id": (number,), "text": word, "misc": f"start_char={start}|end_char={end}"})
            start = end + 1
        yield entries


def _entity(value: str | None) -> str:
    """Return the type of an entity, `PER` for `B-PER`."""
    position, dash, entity_type = (value or OUTSIDE).partition("-")
    return as_label(entity_type) if dash and position in ("B", "I", "E", "S") else as_label(value or OUTSIDE)


def _identity(processor: Any) -> list[str]:
    return [sha256_of(file) for file in _files_of(processor)] or [identity_of(processor)]


def _files_of(processor: Any) -> list[Path]:
    """Return the files that a processor's settings name, in the order of the settings' names."""
    settings = getattr(processor, "config", None)
    if not isinstance(settings, dict):
        return []
    # Models of several parts name the files of every part in a dictionary of its own.
    parts = [settings, *(part for part in settings.get("dependencies") or () if isinstance(part, dict))]
    named = [
        path
        for part in parts
        for key, value in sorted(part.items())
        if key.endswith("_path") and isinstance(value, str)
        for path in value.split(";")
    ]
    return [Path(path) for path in named if path and Path(path).is_file()]
