"""Annotation by a spaCy pipeline."""

from __future__ import annotations

from functools import cached_property
from hashlib import sha256
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

from txray._optional import import_extra
from txray.corpus.annotators.annotator import COLUMNS, OUTSIDE, PipelineAnnotator, Sentences, as_label
from txray.corpus.document import Document
from txray.errors import UnknownNameError, UsageError, in_one_line
from txray.identity import derived, identity_of

_ATTRIBUTES = {
    "pos": "tag_",
    "upos": "pos_",
    "lemma": "lemma_",
    "feats": "morph",
    "deprel": "dep_",
    "ent": "ent_type_",
}
_ASSIGNED = {
    "pos": {"token.tag"},
    "upos": {"token.pos"},
    "lemma": {"token.lemma"},
    "feats": {"token.morph"},
    "deprel": {"token.dep"},
    "ent": {"doc.ents", "token.ent_type"},
}
"""Column -> what a component declares to assign, one of which is needed."""


def spacy(nlp: Any, column: str) -> SpacyAnnotator:
    """Annotate words with what a spaCy pipeline predicts.

    The pipeline receives the words and sentence starts of the document and does not tokenise; documents of more than
    10,000 words go through it in pieces of whole sentences. Missing values are `_`, and a word outside every entity
    gets `O`. White space inside a value becomes `␣`. Words are cut to 1,000 characters.

    Args:
        nlp: a pipeline (`spacy.language.Language`), or the name or folder of one for `spacy.load`. Loading a package
            by name imports it: name only packages that you trust.
        column: `pos` (spaCy's `tag_`), `upos` (`pos_`), `lemma`, `feats` (morphology), `deprel` (dependency), or `ent`
            (type of entity); also the name of the annotation.

    Raises:
        UnknownNameError: no such column.
        UsageError: spaCy is not installed, there is no such pipeline, or none of its components assigns the column;
            while reading: the pipeline merged or split words.
    """
    return SpacyAnnotator(nlp, column)


class SpacyAnnotator(PipelineAnnotator):
    """Annotator that runs a spaCy pipeline; see `spacy`.

    Attributes:
        name: of the annotation.
    """

    max_words = 10_000

    def __init__(self, nlp: Any, column: str) -> None:
        if column not in COLUMNS:
            raise UnknownNameError.of("column of a spaCy pipeline", column, COLUMNS)
        self.name = column
        self._nlp = _loaded(nlp) if isinstance(nlp, str | Path) else nlp
        self._language = import_extra("annotators.spacy needs", "text", "spacy.language").Language
        if not isinstance(self._nlp, self._language):
            raise UsageError(
                f"annotators.spacy: a {type(nlp).__name__}; give a pipeline, or the name or folder of one"
            )
        declared = [set(self._nlp.get_pipe_meta(pipe).assigns) for pipe in self._nlp.pipe_names]
        # A component that declares nothing may assign anything.
        if all(declared) and not any(_ASSIGNED[column] & assigned for assigned in declared):
            raise UsageError(
                f"spaCy pipeline {self._title}: no component gives {column!r}; add one, or choose another column"
            )

    def __repr__(self) -> str:
        return f"SpacyAnnotator({self._title}, {self.name!r})"

    @property
    def _title(self) -> str:
        meta = self._nlp.meta
        return f"'{meta['lang']}_{meta['name']}' ({', '.join(self._nlp.pipe_names) or 'no components'})"

    @cached_property
    def fingerprint(self) -> str:
        """Hash of column, version of spaCy, components with their settings, weights and rules, and vectors.

        A component that cannot be saved (a plain function) is described by `txray.identity`.
        """
        nlp = self._nlp
        components = [(name, _identity(pipe)) for name, pipe in nlp.pipeline]
        # Without the strings of the vocabulary, which grow while text is read.
        vocabulary = nlp.vocab.vectors.to_bytes(exclude=["strings"]) + nlp.vocab.lookups.to_bytes()
        shared = sha256(vocabulary).hexdigest()
        return derived("spacy", self.name, version("spacy"), nlp.config.to_str(), shared, *chain(*components))

    def _annotate(self, document: Document, sentences: Sentences) -> list[str]:
        from spacy.tokens import Doc

        words = list(chain.from_iterable(sentences))
        starts: list[bool | int | None] = [
            position == 0 for sentence in sentences for position in range(len(sentence))
        ]
        doc = self._nlp(Doc(self._nlp.vocab, words=words, sent_starts=starts))
        if len(doc) != len(words):
            raise UsageError(
                f"document {document.id!r}: spaCy pipeline {self._title} made {len(doc)} words of {len(words)}; "
                "disable the component that merges or splits words"
            )
        attribute = _ATTRIBUTES[self.name]
        values = [str(getattr(token, attribute)) for token in doc]
        if self.name == "ent":
            return [as_label(value) if value else OUTSIDE for value in values]
        return list(map(as_label, values))


def _identity(component: Any) -> str:
    if hasattr(component, "to_bytes"):
        return sha256(component.to_bytes(exclude=["vocab"])).hexdigest()
    return identity_of(component)


def _loaded(nlp: str | Path) -> Any:
    try:
        return import_extra("annotators.spacy needs", "text", "spacy").load(nlp)
    except (OSError, ValueError, ImportError) as error:
        raise UsageError(
            f"spaCy pipeline '{nlp}': cannot be loaded ({in_one_line(error)}); install it, or name its folder"
        ) from error
