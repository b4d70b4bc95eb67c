"""The feature at each word of a document, for every feature type."""

from __future__ import annotations

from collections.abc import Sequence

from txray.capture.encoding import EncodedDocument
from txray.errors import CorpusError, UnknownNameError

OUTPUT = "output"
"""What the model gives: its predicted next word, or a classifier's predicted class."""


SUBWORD = "subword"
"""Pieces of words as the tokenizer cuts them; each piece is credited on its own."""


def features_of(feature_type: str, encoded: EncodedDocument) -> Sequence[str]:
    """The feature of one kind at each word.

    Args:
        kind: `token`, `label`, or the name of an annotation.
        encoded: the document.

    Returns:
        (n_words,) names.

    Raises:
        UnknownNameError: the document has no such annotation.
        CorpusError: kind `label`, and the document has none.
    """
    document = encoded.document
    if feature_type == "token":
        return encoded.forms
    if feature_type == "label":
        if "label" not in document.labels:
            raise CorpusError(f"document {document.id!r}: has no label; leave the feature 'label' out")
        return [document.labels["label"]] * len(document.words)
    if feature_type not in document.annotations:
        known = ["token", OUTPUT, SUBWORD, "label", *sorted(document.annotations)]
        error = UnknownNameError.of("feature", feature_type, known, where=f"document {document.id!r}")
        if feature_type == "pos":
            error = UnknownNameError(f"{error}; add tags with corpus.annotate(tagger), or --tagger")
        raise error
    return document.annotations[feature_type]
