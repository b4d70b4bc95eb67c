"""Text in: documents, corpora, readers, annotators, the tagger, downloads, and the embedded demo corpus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from txray._lazy import lazily

if TYPE_CHECKING:
    from txray.corpus import annotators
    from txray.corpus.annotators.annotator import Annotator
    from txray.corpus.corpus import Corpus
    from txray.corpus.datasets import from_dataset
    from txray.corpus.demo import demo_corpus
    from txray.corpus.document import Document
    from txray.corpus.download import fetch
    from txray.corpus.read import read_corpus
    from txray.corpus.tagger import Tagger

# Looked up on first use: the tokenizer and the tagger bring in large libraries.
_HOMES = {
    "Annotator": "annotators.annotator",
    "Corpus": "corpus",
    "Document": "document",
    "Tagger": "tagger",
    "demo_corpus": "demo",
    "fetch": "download",
    "from_dataset": "datasets",
    "read_corpus": "read",
}

__all__ = [
    "Annotator",
    "Corpus",
    "Document",
    "Tagger",
    "annotators",
    "demo_corpus",
    "fetch",
    "from_dataset",
    "read_corpus",
]

__getattr__, __dir__ = lazily(__name__, _HOMES, __all__, ("annotators",))
