"""Features of the words of a document, for every feature type."""

from __future__ import annotations

from collections.abc import Sequence

from txray.capture.text.encoding import EncodedDocument
from txray.errors import CorpusError, UnknownNameError
from txray.preferences.output_tokens import OUTPUT

SUBWORD = "subword"
"""Pieces of words, as the tokenizer cuts them; each piece is credited on its own."""


def features_of(feature_type: str, encoded: EncodedDocument) -> Sequence[str]:
    """Return the (n_words,) features of a document, of type `token`, `label`, or the name of an annotation.

    Raises:
        UnknownNameError: the document has no such annotation.
        CorpusError: the feature type is `label`, and the document has none.
    """
    document = encoded.document
    if feature_type == "token":
        return encoded.forms
    if feature_type == "label":
        if "label" not in document.labels:
            raise CorpusError(f"document {document.id!r}: has no label; omit the feature type 'label'")
        return [document.labels["label"]] * len(document.words)
    if feature_type not in document.annotations:
        known = ["token", OUTPUT, SUBWORD, "label", *sorted(document.annotations)]
        error = UnknownNameError.of("feature type", feature_type, known, where=f"document {document.id!r}")
        if feature_type == "pos":
            error = UnknownNameError(f"{error}; add tags with corpus.annotate(tagger), or --tagger")
        raise error
    return document.annotations[feature_type]
